//! What happens to a build's outputs after its program ended well: they are
//! made canonical, scanned for references, given their final paths, checked,
//! moved into the store and registered. Runs no program and knows no sandbox;
//! it is told where each output lies and what it was called.

mod aside;
mod check;
mod digest;
mod error;
mod held;
mod identity;
mod kind;
mod order;
mod place;
mod register;
mod rejection;
mod remove;
mod rewrite;
mod rules;
mod scratch;
mod settle;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use musher_protocol::types::{BasicDerivation, BuildMode, BuiltOutput};
use musher_store::local::TempRoots;
use nix_derivation::StorePath;

pub use error::OutputError;
pub use kind::KindError;
pub use register::register_outputs;
pub use rejection::Rejection;
pub use rules::{OutputRules, RulesError};
pub use scratch::{ScratchError, known_paths, scratch_paths};

pub(crate) use identity::own_drv_hash;
pub(crate) use remove::remove_tree;

/// A build whose program has ended with success and of which no process is
/// left. Its outputs wait to become store paths.
///
/// The caller holds the locks of the output paths that are known beforehand.
#[derive(Clone, Copy)]
pub struct Finished<'a> {
    /// The derivation's path; its name gives the outputs theirs.
    pub drv_path: &'a StorePath,
    /// What was built.
    pub derivation: &'a BasicDerivation,
    /// What it says its outputs may be.
    pub rules: &'a OutputRules,
    /// Every output of the derivation, by name.
    pub scratch: &'a BTreeMap<String, ScratchOutput>,
    /// The closure of the inputs: with the outputs themselves the only paths
    /// an output can refer to.
    pub inputs: &'a BTreeSet<StorePath>,
    /// What keeps the outputs from being collected; they are added to it.
    pub roots: &'a TempRoots,
    /// Whether outputs that are valid stay, are replaced or are compared.
    pub mode: BuildMode,
    /// Whether a differing output of a check stays beside the first, at
    /// `<path>.check`.
    pub keep_failed: bool,
    /// The user ids the build ran as, where they are not our own: files of
    /// others are refused. Outputs themselves belong to the first of them.
    pub owners: Option<&'a RangeInclusive<u32>>,
}

/// An output as the build program left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScratchOutput {
    /// What the build program knew it as (`$out`).
    pub path: StorePath,
    /// Where it lies on this host, on the store's file system where that can
    /// be (else it is copied).
    pub location: PathBuf,
}

/// What became of the outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All are valid now; after a check, still.
    Accepted(BTreeMap<String, BuiltOutput>),
    /// Some output is not acceptable.
    Rejected(Rejection),
}
