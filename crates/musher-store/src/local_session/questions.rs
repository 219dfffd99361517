//! What is asked about paths. Changes nothing.

use std::collections::BTreeSet;

use musher_protocol::types::BuiltOutput;
use musher_protocol::worker::{OutputId, RemoteError, Response};
use nix_derivation::StorePath;

use super::answer::{Answer, failed};
use super::rooted::Rooted;
use crate::local::RealisationKey;

/// `IsValidPath`
pub(super) fn is_valid(store: &Rooted, path: &StorePath) -> Answer {
    let valid = store.store.is_valid(path).map_err(failed)?;
    Ok(Response::Bool(valid))
}

/// `QueryValidPaths`
pub(super) fn valid_paths(store: &Rooted, paths: &BTreeSet<StorePath>) -> Answer {
    let valid = store.store.valid_paths(paths).map_err(failed)?;
    Ok(Response::Paths(valid))
}

/// `QueryAllValidPaths`
pub(super) fn all_valid(store: &Rooted) -> Answer {
    let valid = store.store.all_valid_paths().map_err(failed)?;
    Ok(Response::Paths(valid))
}

/// `QueryPathInfo`
pub(super) fn path_info(store: &Rooted, path: &StorePath) -> Answer {
    let info = store.store.path_info(path).map_err(failed)?;
    Ok(Response::PathInfo(info))
}

/// `QueryDeriver`
pub(super) fn deriver(store: &Rooted, path: &StorePath) -> Answer {
    let info = store.store.path_info(path).map_err(failed)?;
    let info = info.ok_or_else(|| invalid(&store.dir().render_path(path)))?;
    Ok(Response::OptionalPath(info.deriver))
}

/// `QueryReferrers`
pub(super) fn referrers(store: &Rooted, path: &StorePath) -> Answer {
    let referrers = store.store.referrers(path).map_err(failed)?;
    Ok(Response::Paths(referrers))
}

/// `QueryValidDerivers`
pub(super) fn valid_derivers(store: &Rooted, path: &StorePath) -> Answer {
    let derivers = store.store.valid_derivers(path).map_err(failed)?;
    Ok(Response::Paths(derivers))
}

/// `QueryPathFromHashPart`
pub(super) fn from_hash_part(store: &Rooted, hash: &str) -> Answer {
    let path = store.store.path_from_hash_part(hash).map_err(failed)?;
    Ok(Response::OptionalPath(path))
}

/// `EnsurePath`
pub(super) fn ensure(store: &Rooted, path: &StorePath) -> Answer {
    // First, so that it stays valid.
    store.keep([path]).map_err(failed)?;
    match store.store.is_valid(path).map_err(failed)? {
        true => Ok(Response::Unit),
        false => Err(cannot_be_had(&store.dir().render_path(path))),
    }
}

/// `QueryRealisation`
pub(super) fn realisation(store: &Rooted, id: &OutputId) -> Answer {
    let found = store.store.realisation(&key(id), id.output());
    let built = found.map_err(failed)?.map(|found| BuiltOutput {
        drv_hash: id.drv_hash().map(str::to_owned),
        path: found.path,
        signatures: found.signatures,
        dependent_realisations: Default::default(),
    });
    Ok(Response::Realisation(built))
}

/// The name that a client has for an output's derivation.
pub(super) fn key(id: &OutputId) -> RealisationKey {
    match id {
        OutputId::Hash(id) => RealisationKey::Hash(id.drv_hash.clone()),
        OutputId::Path(id) => RealisationKey::Path(id.drv_path().clone()),
    }
}

/// A path (absolute) that has to be there is not.
pub(super) fn invalid(path: &str) -> RemoteError {
    RemoteError::new(format!("path '{path}' is not valid"))
}

/// A path (absolute) that nobody can make.
pub(super) fn cannot_be_had(path: &str) -> RemoteError {
    RemoteError::new(format!(
        "path '{path}' is not in this store, which has no substituters to get it from"
    ))
}
