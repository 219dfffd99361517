//! The derivations in a store and the paths of their outputs.

use std::collections::BTreeMap;

use musher_protocol::worker::{RemoteError, Response};
use nix_derivation::{Derivation, StorePath};

use super::answer::{Answer, failed, told};
use super::rooted::Rooted;
use crate::local::RealisationKey;

/// A derivation's outputs, by name; none where a path is not known yet.
pub(super) type OutputMap = BTreeMap<String, Option<StorePath>>;

/// `QueryDerivationOutputs`
pub(super) fn paths(store: &Rooted, drv_path: &StorePath) -> Answer {
    let outputs = outputs(store, drv_path, &read(store, drv_path)?)?;
    Ok(Response::Paths(outputs.into_values().flatten().collect()))
}

/// `QueryDerivationOutputNames`
pub(super) fn names(store: &Rooted, drv_path: &StorePath) -> Answer {
    let derivation = read(store, drv_path)?;
    Ok(Response::Names(
        derivation.outputs().keys().cloned().collect(),
    ))
}

/// `QueryDerivationOutputMap`
pub(super) fn map(store: &Rooted, drv_path: &StorePath) -> Answer {
    let derivation = read(store, drv_path)?;
    outputs(store, drv_path, &derivation).map(Response::OutputMap)
}

/// Reads a derivation, which must be valid.
pub(super) fn read(store: &Rooted, drv_path: &StorePath) -> Result<Derivation, RemoteError> {
    store.store.read_derivation(drv_path).map_err(failed)
}

/// The paths of the outputs of `derivation`, valid or not. Those of
/// content-addressed outputs are known once they were built.
pub(super) fn outputs(
    store: &Rooted,
    drv_path: &StorePath,
    derivation: &Derivation,
) -> Result<OutputMap, RemoteError> {
    let declared = derivation.resolved_outputs();
    let declared = declared.map_err(|error| told(&error, None))?;
    let mut outputs = OutputMap::new();
    for (name, output) in declared {
        let path = match output.path {
            Some(path) => Some(path),
            None => {
                let key = RealisationKey::Path(drv_path.clone());
                let built = store.store.realisation(&key, &name).map_err(failed)?;
                built.map(|built| built.path)
            }
        };
        outputs.insert(name, path);
    }
    Ok(outputs)
}
