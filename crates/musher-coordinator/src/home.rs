//! The home store as the coordinator reads it: the infos of inputs and their
//! closures, remembered, and their NARs.

mod derivations;
mod kept_paths;
mod logs;
mod open;
mod place;
mod realisations;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use musher_protocol::types::PathInfo;
use musher_store::{Store, StoreError, Substitute, references_first};
use nix_derivation::{StoreDir, StorePath};
use tokio::time::sleep;
use tracing::debug;

use crate::build::Closure;
use crate::held_inputs::HeldInputs;

pub(crate) use kept_paths::KeptPaths;
pub use open::HomeOpenError;
pub(crate) use place::Place;

/// Path infos remembered; at some 500 bytes each, 30 MB when full.
const MOST: usize = 60_000;

/// Why inputs could not be found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HomeError {
    /// The home store did not answer.
    #[error("cannot ask the home store for the build's inputs")]
    Ask(#[source] Arc<StoreError>),
    /// It does not have them.
    #[error("input `{path}` is not valid in the home store")]
    Invalid {
        /// The first such path, absolute.
        path: String,
    },
}

impl HomeError {
    /// The same, from whoever is a store itself.
    pub(crate) fn into_store_error(self) -> StoreError {
        match self {
            Self::Ask(error) => Arc::into_inner(error).unwrap_or(StoreError::GivenUp),
            Self::Invalid { path } => StoreError::Invalid { path },
        }
    }
}

/// How long to wait each time before a home store is asked again that cannot be
/// reached.
const ASK_AGAIN: [Duration; 4] = [
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
];

#[derive(Default)]
struct Cache {
    infos: BTreeMap<StorePath, PathInfo>,
    order: VecDeque<StorePath>,
}

/// The home store.
pub(crate) struct Home {
    store: Arc<dyn Store>,
    place: Place,
    cache: Mutex<Cache>,
}

impl Home {
    /// The home store `store`, which is of this kind.
    pub(crate) fn new(store: Arc<dyn Store>, place: Place) -> Self {
        Self {
            store,
            place,
            cache: Mutex::default(),
        }
    }

    /// The store itself, to copy from.
    pub(crate) fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// The store directory.
    pub(crate) fn store_dir(&self) -> &StoreDir {
        self.store.store_dir()
    }

    /// `roots` and all they refer to, each path after those it refers to.
    pub(crate) async fn closure(
        &self,
        roots: impl IntoIterator<Item = StorePath>,
    ) -> Result<Closure, HomeError> {
        self.closure_with(roots, &HeldInputs::default()).await
    }

    /// The same where some of the paths are `held` on machines instead.
    pub(crate) async fn closure_with(
        &self,
        roots: impl IntoIterator<Item = StorePath>,
        held: &HeldInputs,
    ) -> Result<Closure, HomeError> {
        let mut found: BTreeMap<StorePath, PathInfo> = BTreeMap::new();
        let mut wanted: BTreeSet<StorePath> = roots.into_iter().collect();
        while !wanted.is_empty() {
            let mut infos = Vec::with_capacity(wanted.len());
            wanted.retain(|path| match held.get(path) {
                Some(held) => {
                    infos.push(held.info.clone());
                    false
                }
                None => true,
            });
            infos.extend(self.infos(&wanted).await?);
            wanted = (infos.iter())
                .flat_map(|info| info.references.iter())
                .filter(|path| !found.contains_key(*path))
                .cloned()
                .collect();
            for info in infos {
                wanted.remove(&info.path);
                found.insert(info.path.clone(), info);
            }
            wanted.retain(|path| !found.contains_key(path));
        }
        Ok(Closure(references_first(found.into_values().collect())))
    }

    /// The same; where the home store cannot be reached it is asked again a few
    /// times, for it may just be restarted.
    pub(crate) async fn closure_patiently(
        &self,
        roots: &BTreeSet<StorePath>,
        held: &HeldInputs,
    ) -> Result<Closure, HomeError> {
        for wait in ASK_AGAIN {
            match self.closure_with(roots.iter().cloned(), held).await {
                Err(HomeError::Ask(error)) if error.is_of_connection() => {
                    let error = crate::error_text(&error);
                    debug!(error, "the home store is asked again");
                    sleep(wait).await;
                }
                asked => return asked,
            }
        }
        self.closure_with(roots.iter().cloned(), held).await
    }

    /// Those of `paths` that are valid now.
    pub(crate) async fn valid(
        &self,
        paths: &BTreeSet<StorePath>,
    ) -> Result<BTreeSet<StorePath>, StoreError> {
        self.store.valid_paths(paths, Substitute::No).await
    }

    /// Those of `paths` that it could fetch from its substituters.
    pub(crate) async fn substitutable(
        &self,
        paths: &BTreeSet<StorePath>,
    ) -> Result<BTreeSet<StorePath>, StoreError> {
        self.store.substitutable_paths(paths).await
    }

    /// Imports `infos`, each after those it refers to, with their NARs from
    /// `source`.
    pub(crate) async fn import(
        &self,
        infos: &[PathInfo],
        source: &dyn Store,
    ) -> Result<(), StoreError> {
        self.store.import(infos, source).await
    }

    /// Forgets what is remembered of `paths`: they may have changed.
    pub(crate) fn forget<'a>(&self, paths: impl IntoIterator<Item = &'a StorePath>) {
        let mut cache = self.lock();
        for path in paths {
            cache.infos.remove(path);
        }
    }

    async fn infos(&self, paths: &BTreeSet<StorePath>) -> Result<Vec<PathInfo>, HomeError> {
        let mut infos = Vec::with_capacity(paths.len());
        let mut unknown = Vec::new();
        {
            let cache = self.lock();
            for path in paths {
                match cache.infos.get(path) {
                    Some(info) => infos.push(info.clone()),
                    None => unknown.push(path.clone()),
                }
            }
        }
        if unknown.is_empty() {
            return Ok(infos);
        }
        let fetched = self.store.path_infos(&unknown).await;
        let fetched = fetched.map_err(|error| HomeError::Ask(Arc::new(error)))?;
        let valid: BTreeSet<_> = fetched.iter().map(|info| &info.path).collect();
        if let Some(path) = unknown.iter().find(|path| !valid.contains(path)) {
            return Err(HomeError::Invalid {
                path: self.store_dir().render_path(path),
            });
        }
        let mut cache = self.lock();
        for info in fetched {
            if cache
                .infos
                .insert(info.path.clone(), info.clone())
                .is_none()
            {
                cache.order.push_back(info.path.clone());
            }
            infos.push(info);
        }
        while cache.order.len() > MOST {
            if let Some(oldest) = cache.order.pop_front() {
                cache.infos.remove(&oldest);
            }
        }
        Ok(infos)
    }

    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
