//! Derivations without their input derivations.

use std::collections::BTreeMap;

use crate::types::{BasicDerivation, BasicOutput};
use crate::wire::{DecodeError, Decoder, Encoder};

impl Decoder {
    /// A derivation without its input derivations.
    pub async fn basic_derivation(&mut self) -> Result<BasicDerivation, DecodeError> {
        let mut outputs = BTreeMap::new();
        for _ in 0..self.count("derivation outputs").await? {
            let name = self.short("output name").await?;
            let output = BasicOutput {
                path: self.optional_path("output path").await?,
                hash_algo: self.short("output hash algorithm").await?,
                hash: self.short("output hash").await?,
            };
            outputs.insert(name, output);
        }
        let input_sources = self.paths("derivation inputs").await?;
        let system = self.short("derivation system").await?;
        let builder = self.long("derivation builder").await?;
        let mut args = Vec::new();
        for _ in 0..self.count("derivation arguments").await? {
            args.push(self.long("derivation argument").await?);
        }
        let mut env = BTreeMap::new();
        for _ in 0..self.count("derivation environment").await? {
            let name = self.short("environment name").await?;
            let value = self.long_bytes("environment value").await?;
            env.insert(name, value.to_vec());
        }
        Ok(BasicDerivation {
            outputs,
            input_sources,
            system,
            builder,
            args,
            env,
        })
    }
}

impl Encoder {
    /// A derivation without its input derivations.
    pub fn basic_derivation(&mut self, derivation: &BasicDerivation) {
        self.count(derivation.outputs.len());
        for (name, output) in &derivation.outputs {
            self.string(name);
            self.optional_path(output.path.as_ref());
            self.string(&output.hash_algo);
            self.string(&output.hash);
        }
        self.paths(&derivation.input_sources);
        self.string(&derivation.system);
        self.string(&derivation.builder);
        self.strings(&derivation.args);
        self.count(derivation.env.len());
        for (name, value) in &derivation.env {
            self.string(name);
            self.bytes(value);
        }
    }
}
