//! What a store knows about a valid path.

use std::collections::BTreeSet;
use std::fmt;

use nix_derivation::{CAHash, StorePath};

/// The SHA-256 digest of a path's NAR.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NarHash(pub [u8; 32]);

impl fmt::Debug for NarHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", nix_derivation::nixbase32::encode(&self.0))
    }
}

impl fmt::Display for NarHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A valid path with its metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathInfo {
    /// The path itself.
    pub path: StorePath,
    /// The derivation that made it, where known.
    pub deriver: Option<StorePath>,
    /// Digest of the path's NAR.
    pub nar_hash: NarHash,
    /// Length of the path's NAR in bytes.
    pub nar_size: u64,
    /// The paths it refers to, itself among them if it does.
    pub references: BTreeSet<StorePath>,
    /// When the store registered it, in seconds since 1970.
    pub registration_time: u64,
    /// Whether the store built it itself.
    pub ultimate: bool,
    /// Signatures, `key-name:base64`.
    pub signatures: BTreeSet<String>,
    /// The content address, for a path that has one.
    pub ca: Option<CAHash>,
}
