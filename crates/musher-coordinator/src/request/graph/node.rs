//! One derivation of a request's graph, and where it is on its way.

use std::collections::{BTreeMap, BTreeSet};

use nix_derivation::StorePath;

use super::{Outputs, Recipe};

/// Where a derivation is on its way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum State {
    /// It is being read.
    #[default]
    Unread,
    /// Someone looks whether its outputs are valid at home.
    Doubtful,
    /// What is wanted of it is valid at home; nothing below it is known.
    Valid,
    /// It is to be built and waits for what it reads.
    Blocked,
    /// It is being built.
    Building,
    /// It was built, and its outputs lie where that was.
    Built,
    /// It is not built, because this derivation failed.
    Failed { culprit: StorePath },
}

/// One derivation.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// None until it was read.
    pub(super) recipe: Option<Recipe>,
    pub(super) state: State,
    /// The outputs that someone wants.
    pub(super) wants: BTreeSet<String>,
    /// The outputs that are there: at home, or where they were built.
    pub(super) outputs: Outputs,
    /// The outputs that were built last, while they are lost and not there
    /// again: more than one may miss them.
    pub(super) missed: Outputs,
    /// The outputs that are or were last looked for at home.
    pub(super) looked_for: BTreeSet<String>,
    /// Derivations whose outputs it lacks.
    pub(super) waits: BTreeSet<StorePath>,
    /// Derivations that are told when its outputs are there.
    pub(super) dependents: BTreeSet<StorePath>,
    /// How often its outputs were lost.
    pub(super) losses: u32,
}

impl Node {
    pub(super) fn has_failed(&self) -> bool {
        self.culprit().is_some()
    }

    /// The derivation because of which it failed, if it did.
    pub(super) fn culprit(&self) -> Option<&StorePath> {
        match &self.state {
            State::Failed { culprit } => Some(culprit),
            State::Unread
            | State::Doubtful
            | State::Valid
            | State::Blocked
            | State::Building
            | State::Built => None,
        }
    }

    /// Whether its outputs are there, all that are wanted now.
    pub(super) fn is_realised(&self) -> bool {
        matches!(self.state, State::Valid | State::Built) && self.has(&self.wants)
    }

    /// Whether these outputs are there.
    pub(super) fn has(&self, names: &BTreeSet<String>) -> bool {
        names.iter().all(|name| self.outputs.contains_key(name))
    }

    /// Whether any of `paths` is among what it has built.
    pub(super) fn made(&self, paths: &BTreeSet<StorePath>) -> bool {
        let is_there = self.state == State::Built;
        let there = self.outputs.values().filter(|_| is_there);
        let mut made = there.chain(self.missed.values());
        made.any(|path| paths.contains(path))
    }

    /// The wanted outputs that are not known to be there, with their paths
    /// where these are known before the build.
    pub(super) fn lacking(&self) -> BTreeMap<String, Option<StorePath>> {
        let declared = self.recipe.iter().flat_map(|recipe| &recipe.outputs);
        declared
            .filter(|(name, _)| self.wants.contains(*name) && !self.outputs.contains_key(*name))
            .map(|(name, path)| (name.clone(), path.clone()))
            .collect()
    }

    /// An output that is wanted of it though it does not have it.
    pub(super) fn impossible(&self) -> Option<String> {
        let recipe = self.recipe.as_ref()?;
        let wants = self.wants.iter();
        let mut impossible = wants.filter(|name| !recipe.outputs.contains_key(*name));
        impossible.next().cloned()
    }
}
