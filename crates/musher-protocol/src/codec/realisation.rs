//! Realisations as peers from Nix 2.35 on write them: paths and signatures.
//! Knows nothing of the JSON form that came before.

use std::collections::{BTreeMap, BTreeSet};

use crate::types::BuiltOutput;
use crate::wire::{DecodeError, Decoder, Encoder};

impl Decoder {
    /// The path an output has, and what vouches for it.
    pub async fn built_output(&mut self) -> Result<BuiltOutput, DecodeError> {
        let path = self.path("realised path").await?;
        let signatures: BTreeSet<String> = self.strings("realisation signatures").await?;
        Ok(BuiltOutput {
            drv_hash: None,
            path,
            signatures,
            dependent_realisations: BTreeMap::new(),
        })
    }

    /// The outputs of one build, by output name.
    pub async fn built_outputs(&mut self) -> Result<BTreeMap<String, BuiltOutput>, DecodeError> {
        let mut outputs = BTreeMap::new();
        for _ in 0..self.count("built outputs").await? {
            let name = self.short("output name").await?;
            let output = self.built_output().await?;
            outputs.insert(name, output);
        }
        Ok(outputs)
    }
}

impl Encoder {
    /// The path an output has, and what vouches for it. The derivation's hash
    /// and the dependent realisations have no place in this form.
    pub fn built_output(&mut self, output: &BuiltOutput) {
        self.path(&output.path);
        self.strings(&output.signatures);
    }

    /// The outputs of one build, by output name.
    pub fn built_outputs(&mut self, outputs: &BTreeMap<String, BuiltOutput>) {
        self.count(outputs.len());
        for (name, output) in outputs {
            self.string(name);
            self.built_output(output);
        }
    }
}
