//! The outputs of this session's builds. They are in no store that the client
//! could ask; what is known of them is kept here for as long as they are kept
//! where they were built. Asks nobody.

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

/// The builds of this session whose outputs can be had.
#[derive(Debug, Default)]
pub(crate) struct Outputs(VecDeque<Finished>);

impl Outputs {
    /// Keeps the outputs of one more build, and lets go of old ones.
    pub(crate) fn keep(&mut self, finished: Finished) {
        self.0.retain(|known| known.drv_path != finished.drv_path);
        self.0.push_back(finished);
        if self.0.len() > MOST {
            self.0.pop_front();
        }
    }

    /// The build that made `path`, and what is known of the path.
    pub(crate) fn find(&self, path: &StorePath) -> Option<(&Finished, &PathInfo)> {
        self.0.iter().rev().find_map(|finished| {
            let info = finished.infos.values().find(|info| info.path == *path)?;
            Some((finished, info))
        })
    }

    /// What is known of `path`, if it is one of these.
    pub(crate) fn info(&self, path: &StorePath) -> Option<&PathInfo> {
        self.find(path).map(|(_, info)| info)
    }

    /// Those of `paths` that are here.
    pub(crate) fn among(&self, paths: &BTreeSet<StorePath>) -> BTreeSet<StorePath> {
        let known = self.0.iter().flat_map(|finished| finished.infos.values());
        known
            .map(|info| &info.path)
            .filter(|path| paths.contains(path))
            .cloned()
            .collect()
    }

    /// Takes out the build that made `path`.
    pub(crate) fn take(&mut self, path: &StorePath) -> Option<Finished> {
        let made = |finished: &Finished| finished.infos.values().any(|info| info.path == *path);
        let at = self.0.iter().rposition(made)?;
        self.0.remove(at)
    }

    /// Which path an output of these builds has.
    pub(crate) fn realisation(&self, id: &OutputId) -> Option<&BuiltOutput> {
        self.0.iter().rev().find_map(|finished| {
            let built = finished.result.built_outputs.get(id.output())?;
            let same = match id {
                OutputId::Hash(id) => built.drv_hash.as_ref() == Some(&id.drv_hash),
                OutputId::Path(id) => *id.drv_path() == finished.drv_path,
            };
            same.then_some(built)
        })
    }
}
