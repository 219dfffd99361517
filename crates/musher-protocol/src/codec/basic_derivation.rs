//! ```text
//! basic derivation = outputs, inputs: set of path, system, builder,
//!                    args: list of string, env: map of string to string
//! outputs          = count, (name, path or "", hash algorithm, hash)*
//! ```

use std::collections::BTreeMap;

use crate::types::{BasicDerivation, BasicOutput};
use crate::wire::{DecodeError, Decoder, Encoder};

/// Writes `derivation`.
pub(crate) fn encode(derivation: &BasicDerivation, to: &mut Encoder) {
    to.count(derivation.outputs.len());
    for (name, output) in &derivation.outputs {
        to.string(name);
        to.optional_path(output.path.as_ref());
        to.string(&output.hash_algo);
        to.string(&output.hash);
    }
    to.paths(&derivation.input_sources);
    to.string(&derivation.system);
    to.string(&derivation.builder);
    to.strings(&derivation.args);
    to.count(derivation.env.len());
    for (name, value) in &derivation.env {
        to.string(name);
        to.bytes(value);
    }
}

/// Reads a derivation.
pub(crate) async fn decode(from: &mut Decoder) -> Result<BasicDerivation, DecodeError> {
    let mut outputs = BTreeMap::new();
    for _ in 0..from.count("outputs").await? {
        let name = from.short("output name").await?;
        let output = BasicOutput {
            path: from.optional_path("output path").await?,
            hash_algo: from.short("output hash algorithm").await?,
            hash: from.short("output hash").await?,
        };
        outputs.insert(name, output);
    }
    let input_sources = from.paths("input sources").await?;
    let system = from.short("system").await?;
    let builder = from.long("builder").await?;
    let mut args = Vec::new();
    for _ in 0..from.count("arguments").await? {
        args.push(from.long("argument").await?);
    }
    let mut env = BTreeMap::new();
    for _ in 0..from.count("environment").await? {
        let name = from.long("variable name").await?;
        let value = from.long_bytes("variable value").await?;
        env.insert(name, value.into());
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
