//! Which paths a copy is about. Asks stores, and copies nothing.

use std::collections::BTreeSet;

use musher_protocol::types::PathInfo;
use musher_store::{Store, StoreError, Substitute, references_first};
use nix_derivation::StorePath;

/// Paths asked about at once: enough that the way there does not count, and few
/// enough that an answer stays small.
const BATCH: usize = 500;

/// `roots` and all they refer to, each path after those it refers to.
pub(in crate::commands) async fn closure(
    store: &dyn Store,
    roots: Vec<StorePath>,
) -> Result<Vec<PathInfo>, StoreError> {
    let mut known: BTreeSet<StorePath> = roots.iter().cloned().collect();
    let mut ahead: Vec<StorePath> = known.iter().cloned().collect();
    let mut found = Vec::new();
    while !ahead.is_empty() {
        let batch = ahead.split_off(ahead.len().saturating_sub(BATCH));
        let infos = store.path_infos(&batch).await?;
        let valid: BTreeSet<_> = infos.iter().map(|info| &info.path).collect();
        if let Some(path) = batch.iter().find(|path| !valid.contains(path)) {
            let path = store.store_dir().render_path(path);
            return Err(StoreError::Invalid { path });
        }
        for path in infos.iter().flat_map(|info| &info.references) {
            if known.insert(path.clone()) {
                ahead.push(path.clone());
            }
        }
        found.extend(infos);
    }
    Ok(references_first(found))
}

/// Those of `infos` that are not valid in `store`, in the same order.
pub(super) async fn missing(
    store: &dyn Store,
    infos: Vec<PathInfo>,
    substitute: Substitute,
) -> Result<Vec<PathInfo>, StoreError> {
    let mut valid = BTreeSet::new();
    for batch in infos.chunks(BATCH) {
        let paths = batch.iter().map(|info| info.path.clone()).collect();
        valid.extend(store.valid_paths(&paths, substitute).await?);
    }
    let is_missing = |info: &PathInfo| !valid.contains(&info.path);
    Ok(infos.into_iter().filter(is_missing).collect())
}
