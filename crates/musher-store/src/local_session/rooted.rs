//! A store, and the paths that one session keeps from its garbage collector.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use nix_derivation::{StoreDir, StorePath};
use nix_narinfo::TrustedPublicKey;

use crate::local::{LocalError, LocalStore, TempRoots, Wanted};

/// A store as one session uses it.
pub(super) struct Rooted {
    pub(super) store: Arc<LocalStore>,
    /// Whose signatures count.
    keys: Arc<[TrustedPublicKey]>,
    /// Made once there is something to keep.
    roots: OnceLock<TempRoots>,
    /// Whether the session lives.
    wanted: Wanted,
}

impl Rooted {
    /// A session of which nothing is kept.
    pub(super) fn new(
        store: Arc<LocalStore>,
        keys: Arc<[TrustedPublicKey]>,
        wanted: Wanted,
    ) -> Self {
        Self {
            store,
            keys,
            roots: OnceLock::new(),
            wanted,
        }
    }

    /// Keeps `paths`, valid or not, while the session lives.
    pub(super) fn keep<'a>(
        &self,
        paths: impl IntoIterator<Item = &'a StorePath>,
    ) -> Result<(), LocalError> {
        self.roots()?.add_all(paths)
    }

    /// What the session keeps.
    pub(super) fn roots(&self) -> Result<&TempRoots, LocalError> {
        if let Some(roots) = self.roots.get() {
            return Ok(roots);
        }
        let roots = self.store.temp_roots()?;
        Ok(self.roots.get_or_init(|| roots))
    }

    /// Whether the session lives.
    pub(super) fn wanted(&self) -> Wanted {
        self.wanted.clone()
    }

    /// The keys whose signatures count.
    pub(super) fn keys(&self) -> Arc<[TrustedPublicKey]> {
        Arc::clone(&self.keys)
    }

    /// The directory of all its paths.
    pub(super) fn dir(&self) -> &StoreDir {
        self.store.store_dir()
    }

    /// Where `path` lies on disk.
    pub(super) fn real_path(&self, path: &StorePath) -> PathBuf {
        self.store.real_path(path)
    }
}
