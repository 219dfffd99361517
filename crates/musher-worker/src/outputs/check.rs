//! Whether outputs are what the derivation says they may be. Looks at
//! metadata only.

use std::collections::{BTreeMap, BTreeSet};

use musher_protocol::types::PathInfo;
use nix_derivation::{StoreDir, StorePath};

use super::Rejection;
use super::error::{OutputError, Stop};
use super::kind::OutputKind;
use super::rules::{Mention, OutputChecks, OutputRules};

/// Finds the metadata of valid paths.
pub(crate) type Lookup<'a> = dyn Fn(&[StorePath]) -> Result<Vec<PathInfo>, OutputError> + 'a;

/// The outputs of one derivation, and what is said of them.
pub(crate) struct Check<'a> {
    /// The derivation, absolute.
    pub(crate) drv: &'a str,
    pub(crate) store_dir: &'a StoreDir,
    /// The new outputs with their metadata, by name.
    pub(crate) outputs: &'a BTreeMap<String, PathInfo>,
    /// The paths of all outputs, also of those that were valid before.
    pub(crate) paths: &'a BTreeMap<String, StorePath>,
    pub(crate) kinds: &'a BTreeMap<String, OutputKind>,
    pub(crate) rules: &'a OutputRules,
    /// Metadata of what is valid already.
    pub(crate) lookup: &'a Lookup<'a>,
}

impl Check<'_> {
    /// Checks every new output, in the order of their names.
    pub(crate) fn run(&self) -> Result<(), Stop> {
        for (output, info) in self.outputs {
            if let Some(OutputKind::Fixed { ca, .. }) = self.kinds.get(output) {
                self.fixed(info, ca)?;
            }
            if let Some(checks) = self.rules.checks(output) {
                self.apply(output, info, checks)?;
            }
        }
        Ok(())
    }

    /// A fixed output has the hash that was asked for, and refers to nothing.
    fn fixed(&self, info: &PathInfo, specified: &nix_derivation::CAHash) -> Result<(), Rejection> {
        let got = info.ca.as_ref();
        if got != Some(specified) {
            return Err(Rejection::HashMismatch {
                drv: self.drv.to_owned(),
                specified: specified.hash().to_sri_string(),
                got: got.map_or_else(String::new, |got| got.hash().to_sri_string()),
            });
        }
        match info.references.first() {
            None => Ok(()),
            Some(example) => Err(Rejection::FixedReferences {
                drv: self.drv.to_owned(),
                count: info.references.len(),
                example: self.store_dir.render_path(example),
            }),
        }
    }

    fn apply(&self, output: &str, info: &PathInfo, checks: &OutputChecks) -> Result<(), Stop> {
        if let Some(limit) = checks.max_size
            && info.nar_size > limit
        {
            return Err(Stop::Rejected(Rejection::TooLarge {
                path: self.store_dir.render_path(&info.path),
                size: info.nar_size,
                limit,
            }));
        }
        let needs_closure = checks.max_closure_size.is_some()
            || checks.allowed_requisites.is_some()
            || !checks.disallowed_requisites.is_empty();
        let mut closure = Closure::default();
        if needs_closure {
            closure = self.closure(info)?;
        }
        if let Some(limit) = checks.max_closure_size
            && closure.size > limit
        {
            return Err(Stop::Rejected(Rejection::ClosureTooLarge {
                path: self.store_dir.render_path(&info.path),
                size: closure.size,
                limit,
            }));
        }
        if checks.ignore_self {
            closure.paths.remove(&info.path);
        }
        if let Some(allowed) = &checks.allowed_references {
            self.allow(output, info, &info.references, allowed)?;
        }
        if let Some(allowed) = &checks.allowed_requisites {
            self.allow(output, info, &closure.paths, allowed)?;
        }
        self.disallow(
            output,
            info,
            &info.references,
            &checks.disallowed_references,
        )?;
        self.disallow(output, info, &closure.paths, &checks.disallowed_requisites)?;
        Ok(())
    }

    fn allow(
        &self,
        output: &str,
        info: &PathInfo,
        used: &BTreeSet<StorePath>,
        allowed: &BTreeSet<Mention>,
    ) -> Result<(), Rejection> {
        let allowed = self.mentioned(output, allowed)?;
        self.none_of(info, used.difference(&allowed))
    }

    fn disallow(
        &self,
        output: &str,
        info: &PathInfo,
        used: &BTreeSet<StorePath>,
        disallowed: &BTreeSet<Mention>,
    ) -> Result<(), Rejection> {
        let disallowed = self.mentioned(output, disallowed)?;
        self.none_of(info, used.intersection(&disallowed))
    }

    fn none_of<'b>(
        &self,
        info: &PathInfo,
        bad: impl Iterator<Item = &'b StorePath>,
    ) -> Result<(), Rejection> {
        let bad: Vec<String> = bad.map(|path| self.store_dir.render_path(path)).collect();
        if bad.is_empty() {
            return Ok(());
        }
        Err(Rejection::ForbiddenReferences {
            path: self.store_dir.render_path(&info.path),
            bad,
        })
    }

    /// The paths that `mentions` stand for.
    fn mentioned(
        &self,
        output: &str,
        mentions: &BTreeSet<Mention>,
    ) -> Result<BTreeSet<StorePath>, Rejection> {
        let paths = mentions.iter().map(|mention| match mention {
            Mention::Path(path) => Ok(path.clone()),
            Mention::Output(named) => {
                self.paths
                    .get(named)
                    .cloned()
                    .ok_or_else(|| Rejection::UnknownOutput {
                        drv: self.drv.to_owned(),
                        output: output.to_owned(),
                        named: named.clone(),
                        valid: self.paths.keys().cloned().collect(),
                    })
            }
        });
        paths.collect()
    }

    /// What `info` needs, itself included; of which other outputs may not be
    /// valid yet.
    fn closure(&self, info: &PathInfo) -> Result<Closure, OutputError> {
        let new: BTreeMap<&StorePath, &PathInfo> = self
            .outputs
            .values()
            .map(|info| (&info.path, info))
            .collect();
        let mut closure = Closure::default();
        closure.paths.insert(info.path.clone());
        let mut wanted = vec![info.path.clone()];
        while !wanted.is_empty() {
            let (known, unknown): (Vec<_>, Vec<_>) =
                wanted.into_iter().partition(|path| new.contains_key(path));
            let found = (self.lookup)(&unknown)?;
            let known = known.iter().filter_map(|path| new.get(path).copied());
            wanted = Vec::new();
            for info in known.chain(&found) {
                closure.size = closure.size.saturating_add(info.nar_size);
                for reference in &info.references {
                    if closure.paths.insert(reference.clone()) {
                        wanted.push(reference.clone());
                    }
                }
            }
        }
        Ok(closure)
    }
}

/// A path with all it needs.
#[derive(Default)]
struct Closure {
    paths: BTreeSet<StorePath>,
    /// Length of all NARs.
    size: u64,
}
