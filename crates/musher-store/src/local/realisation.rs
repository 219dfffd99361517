//! Which path an output of a derivation turned out to be, as a store keeps it.

use std::collections::BTreeSet;

use nix_derivation::StorePath;

/// How Nix names the derivation of a realisation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RealisationKey {
    /// By its hash modulo, `sha256:` and 64 hex digits: up to 2.34.
    Hash(String),
    /// By its path, resolved: from 2.35.
    Path(StorePath),
}

/// A realisation, with every name of its derivation that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRealisation {
    /// The names; each is looked up on its own.
    pub keys: BTreeSet<RealisationKey>,
    /// The output's name.
    pub output: String,
    /// The path it has.
    pub path: StorePath,
    /// Signatures of the realisation, `key-name:base64`.
    pub signatures: BTreeSet<String>,
}
