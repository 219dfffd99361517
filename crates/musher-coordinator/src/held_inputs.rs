//! Inputs that are outputs of other builds and lie on the machines where they
//! were made. Knows no store: what is not among them is at home.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use musher_protocol::types::PathInfo;
use musher_scheduler::MachineId;
use nix_derivation::StorePath;
use tokio::sync::watch;

use crate::build::Progress;

/// One such path.
#[derive(Debug)]
pub(crate) struct HeldInput {
    /// What is known of it.
    pub(crate) info: PathInfo,
    /// Where it lies.
    pub(crate) machine: MachineId,
    /// What it may refer to.
    pub(crate) scope: Arc<Scope>,
    /// The interest in the build that made it, which keeps it there.
    pub(crate) _interest: watch::Receiver<Progress>,
}

/// What the outputs of one build may refer to: all that these lead to.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    /// What the build read.
    pub(crate) inputs: BTreeSet<StorePath>,
    /// What it made.
    pub(crate) outputs: BTreeSet<StorePath>,
    /// Those of its outputs that may mention more than they refer to.
    pub(crate) undisclosed: BTreeSet<StorePath>,
}

/// Paths that lie on machines. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct HeldInputs(BTreeMap<StorePath, Arc<HeldInput>>);

impl HeldInputs {
    /// Takes note of a path; the newest place of one counts.
    pub(crate) fn insert(&mut self, input: Arc<HeldInput>) {
        self.0.insert(input.info.path.clone(), input);
    }

    /// Forgets `paths`: they came home, or are gone.
    pub(crate) fn remove<'a>(&mut self, paths: impl IntoIterator<Item = &'a StorePath>) {
        for path in paths {
            self.0.remove(path);
        }
    }

    /// What is known of `path`, if it lies on a machine.
    pub(crate) fn get(&self, path: &StorePath) -> Option<&Arc<HeldInput>> {
        self.0.get(path)
    }

    /// Those among them to which a way of references leads from `roots`. What
    /// is at home refers to nothing that lies elsewhere.
    pub(crate) fn reachable<'a>(&self, roots: impl IntoIterator<Item = &'a StorePath>) -> Self {
        let mut found = BTreeMap::new();
        let mut open: BTreeSet<&StorePath> = roots.into_iter().collect();
        while let Some(path) = open.pop_first() {
            if let Some((path, input)) = self.0.get_key_value(path)
                && found.insert(path.clone(), input.clone()).is_none()
            {
                open.extend(input.info.references.iter());
            }
        }
        Self(found)
    }

    /// Those of `paths` that still lie where `older` says: of the others there
    /// is nothing new to learn from what became of the older ones.
    pub(crate) fn unchanged(
        &self,
        older: &Self,
        paths: BTreeSet<StorePath>,
    ) -> BTreeSet<StorePath> {
        let same = |path: &StorePath| match (self.0.get(path), older.0.get(path)) {
            (Some(now), Some(then)) => Arc::ptr_eq(now, then),
            (Some(_), None) | (None, Some(_) | None) => false,
        };
        paths.into_iter().filter(same).collect()
    }

    /// Their infos, in no order.
    pub(crate) fn infos(&self) -> impl Iterator<Item = &PathInfo> {
        self.0.values().map(|input| &input.info)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use tokio::sync::watch;

    use super::{HeldInput, HeldInputs, Scope};
    use crate::build::{Progress, Stage};
    use crate::testing::{info, path};

    fn held(name: &str, references: &[&str]) -> Arc<HeldInput> {
        let stage = Stage::Running;
        let attempt = None;
        Arc::new(HeldInput {
            info: info(name, references),
            machine: "b1".into(),
            scope: Arc::new(Scope::default()),
            _interest: watch::Sender::new(Progress { stage, attempt }).subscribe(),
        })
    }

    #[test]
    fn what_is_referred_to_is_reachable() {
        let mut all = HeldInputs::default();
        for (name, references) in [
            ("app", &["app", "lib", "at-home"][..]),
            ("lib", &["libc"]),
            ("libc", &[]),
            ("other", &["libc"]),
        ] {
            all.insert(held(name, references));
        }
        let reachable = all.reachable(&[path("app"), path("at-home")]);
        let names: Vec<_> = reachable.infos().map(|info| info.path.name()).collect();
        assert_eq!(names, ["app", "lib", "libc"]);
    }

    #[test]
    fn what_was_made_again_is_another() {
        let mut now = HeldInputs::default();
        now.insert(held("app", &[]));
        now.insert(held("lib", &[]));
        let then = now.clone();
        now.insert(held("lib", &[]));
        let lost = BTreeSet::from([path("app"), path("lib"), path("at-home")]);
        assert_eq!(now.unchanged(&then, lost), [path("app")].into());
    }
}
