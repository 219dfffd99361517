//! The outputs of this session's builds, and those of other sessions' that its
//! client asked for. They are in no store that the client could ask; what is
//! known of them is kept here for as long as they are kept where they were
//! built. Asks nobody.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use musher_protocol::types::{BuildResult, BuiltOutput, PathInfo};
use musher_protocol::worker::OutputId;
use nix_derivation::StorePath;

use crate::coordinator::Build;

/// Builds whose outputs are kept. Stock clients take the outputs of a build
/// before they ask for the next; each one kept costs the coordinator a stream.
const MOST: usize = 64;

/// A build that succeeded.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The interest in the build, by which its outputs are kept.
    pub(crate) build: Build,
    /// The derivation's path as the client knows it.
    pub(crate) drv_path: StorePath,
    /// Where the outputs are.
    pub(crate) machine: String,
    /// What came of it.
    pub(crate) result: BuildResult,
    /// What is known of its outputs, by output name.
    pub(crate) infos: BTreeMap<String, PathInfo>,
}

/// An output, and where to read it.
#[derive(Debug)]
pub(crate) struct Located {
    /// What is known of it.
    pub(crate) info: PathInfo,
    /// Where it is.
    pub(crate) machine: String,
}

/// The outputs that can be had.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    /// Of this session's builds.
    own: VecDeque<Finished>,
    /// Of builds that another session follows, and so keeps.
    others: VecDeque<Located>,
}

impl Outputs {
    /// Keeps the outputs of one more build, and lets go of old ones.
    pub(crate) fn keep(&mut self, finished: Finished) {
        self.own.retain(|known| known.drv_path != finished.drv_path);
        self.own.push_back(finished);
        if self.own.len() > MOST {
            self.own.pop_front();
        }
    }

    /// Remembers an output of another session's build.
    pub(crate) fn borrow(&mut self, output: Located) {
        (self.others).retain(|known| known.info.path != output.info.path);
        self.others.push_back(output);
        if self.others.len() > MOST {
            self.others.pop_front();
        }
    }

    /// What is known of `path`, and the machine where it is.
    pub(crate) fn find(&self, path: &StorePath) -> Option<(&PathInfo, &str)> {
        let own = self.own.iter().rev().find_map(|finished| {
            let info = finished.infos.values().find(|info| info.path == *path)?;
            Some((info, finished.machine.as_str()))
        });
        own.or_else(|| {
            let other = self
                .others
                .iter()
                .find(|output| output.info.path == *path)?;
            Some((&other.info, other.machine.as_str()))
        })
    }

    /// What is known of `path`, if it is one of these.
    pub(crate) fn info(&self, path: &StorePath) -> Option<&PathInfo> {
        self.find(path).map(|(info, _)| info)
    }

    /// Those of `paths` that are here.
    pub(crate) fn among(&self, paths: &BTreeSet<StorePath>) -> BTreeSet<StorePath> {
        let known = self.own.iter().flat_map(|finished| finished.infos.values());
        let others = self.others.iter().map(|output| &output.info);
        known
            .chain(others)
            .map(|info| &info.path)
            .filter(|path| paths.contains(path))
            .cloned()
            .collect()
    }

    /// Takes out the build of this session that made `path`.
    pub(crate) fn take(&mut self, path: &StorePath) -> Option<Finished> {
        let made = |finished: &Finished| finished.infos.values().any(|info| info.path == *path);
        let at = self.own.iter().rposition(made)?;
        self.own.remove(at)
    }

    /// Which path an output of these builds has.
    pub(crate) fn realisation(&self, id: &OutputId) -> Option<&BuiltOutput> {
        self.own.iter().rev().find_map(|finished| {
            let built = finished.result.built_outputs.get(id.output())?;
            let same = match id {
                OutputId::Hash(id) => built.drv_hash.as_ref() == Some(&id.drv_hash),
                OutputId::Path(id) => *id.drv_path() == finished.drv_path,
            };
            same.then_some(built)
        })
    }
}
