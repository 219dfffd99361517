//! How Nix up to 2.34 names the outputs of a derivation: by a hash of it that
//! leaves out their paths. Pure.

use musher_protocol::types::BasicDerivation;
use nix_derivation::store_path::output_path_name;
use nix_derivation::{
    DerivationBuilder, Error, HashAlgorithm, InputDerivationHash, Output, StoreDir, StorePath,
    StructuredAttrs, ValidatedDerivation, hash_bytes,
};

use super::error::OutputError;
use super::kind::OutputKind;
use super::scratch::derivation_name;

/// The hash by which the outputs of `derivation`, which is at `drv_path`, are
/// known; see [`drv_hash`].
pub(crate) fn own_drv_hash(
    store_dir: &StoreDir,
    drv_path: &StorePath,
    derivation: &BasicDerivation,
) -> Result<String, OutputError> {
    let drv = store_dir.render_path(drv_path);
    let name = derivation_name(drv_path);
    let Some((output, spec)) = derivation.outputs.first_key_value() else {
        return Ok(String::new());
    };
    let path_name = output_path_name(name, output).map_err(|source| OutputError::Path {
        drv: drv.clone(),
        output: output.clone(),
        source,
    })?;
    let kind = OutputKind::of(store_dir, output, &path_name, spec);
    let kind = kind.map_err(|source| OutputError::Kind {
        drv: drv.clone(),
        source: Box::new(source),
    })?;
    let hash = drv_hash(store_dir, name, derivation, &kind);
    hash.map_err(|source| OutputError::Hash { drv, source })
}

/// `sha256:` and 64 hex digits: the hash by which the outputs of `derivation`,
/// which is called `name` and whose outputs are like `kind`, are known. All its
/// inputs are sources, as after its inputs are resolved.
fn drv_hash(
    store_dir: &StoreDir,
    name: &str,
    derivation: &BasicDerivation,
    kind: &OutputKind,
) -> Result<String, Error> {
    let output = match kind {
        // Its path is found out by the builder, and then left out.
        OutputKind::InputAddressed(_) => Output::Deferred,
        OutputKind::Fixed { ca, .. } => Output::Fixed { ca: ca.clone() },
        OutputKind::Floating(addressing) => Output::Floating {
            method: addressing.method,
            hash_algorithm: addressing.algorithm,
        },
        OutputKind::Impure(addressing) => Output::Impure {
            method: addressing.method,
            hash_algorithm: addressing.algorithm,
        },
    };
    let masked = masked(store_dir, name, derivation, &output)?;
    let no_inputs = |_: &_| -> InputDerivationHash {
        unreachable!("bug: a derivation without input derivations asked for one's hash")
    };
    let digits = match kind {
        OutputKind::InputAddressed(_) => {
            let hash = masked.hash_output_path_modulo(no_inputs)?;
            hash.into_ready().map(|hash| hash.to_string())
        }
        OutputKind::Fixed { .. } => {
            let hash = masked.hash_input_derivation_modulo(no_inputs)?;
            hash.fixed_output_hash().map(ToString::to_string)
        }
        OutputKind::Floating(_) | OutputKind::Impure(_) => None,
    };
    // The library says only that these two are known by no hash as inputs;
    // what Nix names their outputs by is the plain hash of the masked text.
    Ok(digits.map_or_else(
        || hash_bytes(HashAlgorithm::Sha256, &masked.to_aterm_bytes()).to_nix_base16_string(),
        |digits| format!("sha256:{digits}"),
    ))
}

/// The derivation without the paths of its outputs.
fn masked(
    store_dir: &StoreDir,
    name: &str,
    derivation: &BasicDerivation,
    output: &Output,
) -> Result<ValidatedDerivation, Error> {
    let BasicDerivation {
        outputs,
        input_sources,
        system,
        builder,
        args,
        env,
    } = derivation;
    let mut masked = DerivationBuilder::new_in_store(store_dir.clone(), name, system, builder);
    masked.arguments_mut().clone_from(args);
    masked.input_sources_mut().clone_from(input_sources);
    for name in outputs.keys() {
        masked = masked.output(name.clone(), output.clone());
    }
    let floats = matches!(output, Output::Floating { .. } | Output::Impure { .. });
    for (key, value) in env {
        if key == "__json" {
            let attributes = StructuredAttrs::from_json_bytes(value.clone())?;
            masked = masked.structured_attrs(attributes);
        } else if floats && outputs.contains_key(key) {
            masked = masked.environment(key.clone(), Vec::new());
        } else {
            masked = masked.environment(key.clone(), value.clone());
        }
    }
    masked.build()
}
