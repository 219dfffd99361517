//! A derivation without its input derivations: what a builder is given.

use std::collections::{BTreeMap, BTreeSet};

use nix_derivation::StorePath;

/// An output as the wire has it. The three strings say together which kind of
/// output it is, as in a `.drv` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BasicOutput {
    /// The path; none where it is not known before the build.
    pub path: Option<StorePath>,
    /// `[r:|text:|git:]algorithm`, or empty for an input-addressed output.
    pub hash_algo: String,
    /// The expected digest in base 16, or empty.
    pub hash: String,
}

/// What is needed to run one build, its inputs being valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BasicDerivation {
    /// The outputs, by name.
    pub outputs: BTreeMap<String, BasicOutput>,
    /// The paths it may read.
    pub input_sources: BTreeSet<StorePath>,
    /// The `system` it needs.
    pub system: String,
    /// The build program.
    pub builder: String,
    /// The build program's arguments.
    pub args: Vec<String>,
    /// The environment; structured attributes are under `__json`.
    pub env: BTreeMap<String, Vec<u8>>,
}
