//! Which path an output of a derivation turned out to be. Nix identifies the
//! output in two ways: up to 2.34 by the derivation's hash modulo, from 2.35
//! (feature `realisation-with-path-not-hash`) by the derivation's path.

use std::collections::{BTreeMap, BTreeSet};

use nix_derivation::StorePath;

/// `sha256:<64 hex digits>!<output name>`: an output by hash modulo.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DrvHashOutput {
    /// The derivation's hash modulo, with its algorithm, as on the wire.
    pub drv_hash: String,
    /// The output's name.
    pub output: String,
}

/// An output that is valid: its path and what vouches for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltOutput {
    /// The derivation's hash modulo with its algorithm (`sha256:<hex>`), where
    /// the sender said it.
    pub drv_hash: Option<String>,
    /// The path the output has.
    pub path: StorePath,
    /// Signatures of the realisation.
    pub signatures: BTreeSet<String>,
    /// Realisations it depends on; only old Nix sends any.
    pub dependent_realisations: BTreeMap<DrvHashOutput, StorePath>,
}
