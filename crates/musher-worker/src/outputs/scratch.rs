//! The names outputs have while they are built. Pure.

use std::collections::{BTreeMap, BTreeSet};

use musher_protocol::types::BasicDerivation;
use nix_derivation::store_path::{self, output_path_name};
use nix_derivation::{HashAlgorithm, StoreDir, StorePath, hash_bytes};

/// An output that has no name, or a name no store path can have.
#[derive(Debug, thiserror::Error)]
#[error("output `{output}` of `{drv}` cannot be named")]
pub struct ScratchError {
    drv: String,
    output: String,
    source: store_path::Error,
}

/// The output paths that are known before the build, by output name.
pub fn known_paths(derivation: &BasicDerivation) -> BTreeMap<String, StorePath> {
    derivation
        .outputs
        .iter()
        .filter_map(|(name, output)| Some((name.clone(), output.path.clone()?)))
        .collect()
}

/// The path each output goes by while it is built: its own where that is
/// known and free, else one that only this derivation can ask for, made as
/// Nix makes it.
///
/// `occupied` are output paths that the build program must not write to: in a
/// sandbox none; without one those that are valid, or are to be repaired. Where
/// a path of `occupied` is in the derivation's environment or arguments, its
/// hash part must be replaced there by that of the path given here.
pub fn scratch_paths(
    store_dir: &StoreDir,
    drv_path: &StorePath,
    derivation: &BasicDerivation,
    occupied: &BTreeSet<StorePath>,
) -> Result<BTreeMap<String, StorePath>, ScratchError> {
    let drv = drv_path.to_basename();
    let paths = derivation.outputs.iter().map(|(output, spec)| {
        let named = |source| ScratchError {
            drv: drv.clone(),
            output: output.clone(),
            source,
        };
        let path = match &spec.path {
            Some(path) if !occupied.contains(path) => path.clone(),
            Some(path) => {
                let purpose = format!("rewrite:{drv}:{}", path.to_basename());
                fallback(store_dir, &purpose, path.name()).map_err(named)?
            }
            None => {
                let name = output_path_name(derivation_name(drv_path), output).map_err(named)?;
                let purpose = format!("rewrite:{drv}:name:{output}");
                fallback(store_dir, &purpose, &name).map_err(named)?
            }
        };
        Ok((output.clone(), path))
    });
    paths.collect()
}

/// A derivation's name: its path's without the ending.
pub(crate) fn derivation_name(drv_path: &StorePath) -> &str {
    let name = drv_path.name();
    name.strip_suffix(".drv").unwrap_or(name)
}

/// A store path of a type that no other path has: `purpose` over a digest of
/// zeros.
fn fallback(
    store_dir: &StoreDir,
    purpose: &str,
    name: &str,
) -> Result<StorePath, store_path::Error> {
    let zeros = "0".repeat(64);
    let fingerprint = format!("{purpose}:sha256:{zeros}:{}:{name}", store_dir.as_str());
    let digest = hash_bytes(HashAlgorithm::Sha256, fingerprint.as_bytes());
    // Nix folds the digest to the length of a store path's.
    let mut folded = [0; 20];
    for (index, byte) in digest.digest_as_bytes().iter().enumerate() {
        folded[index % 20] ^= byte;
    }
    StorePath::from_parts(folded, name)
}
