//! Which path an output has, as operations 42 and 43 speak of it. The key is
//! a matter of the dialect.

use std::collections::{BTreeMap, BTreeSet};

use nix_derivation::{DrvOutput, StorePath};

use crate::types::{BuiltOutput, DrvHashOutput};

/// An output of a derivation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum OutputId {
    /// By the derivation's hash modulo: without the feature
    /// `realisation-with-path-not-hash`.
    Hash(DrvHashOutput),
    /// By the derivation's path: with the feature.
    Path(DrvOutput),
}

impl OutputId {
    /// The output's name.
    pub fn output(&self) -> &str {
        match self {
            Self::Hash(id) => &id.output,
            Self::Path(id) => id.output_name(),
        }
    }

    /// The derivation's hash modulo, where it is known by that.
    pub fn drv_hash(&self) -> Option<&str> {
        match self {
            Self::Hash(id) => Some(&id.drv_hash),
            Self::Path(_) => None,
        }
    }
}

/// The statement that an output has a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Realisation {
    /// The output.
    pub id: OutputId,
    /// The path it has.
    pub path: StorePath,
    /// Signatures of the statement.
    pub signatures: BTreeSet<String>,
    /// Realisations it depends on; only old Nix sends any.
    pub dependent_realisations: BTreeMap<DrvHashOutput, StorePath>,
}

impl Realisation {
    /// The statement that `id` is `output`.
    pub fn new(id: OutputId, output: BuiltOutput) -> Self {
        Self {
            id,
            path: output.path,
            signatures: output.signatures,
            dependent_realisations: output.dependent_realisations,
        }
    }

    /// What it says of its output.
    pub fn output(&self) -> BuiltOutput {
        BuiltOutput {
            drv_hash: self.id.drv_hash().map(str::to_owned),
            path: self.path.clone(),
            signatures: self.signatures.clone(),
            dependent_realisations: self.dependent_realisations.clone(),
        }
    }
}
