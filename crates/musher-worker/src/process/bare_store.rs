//! The store of a worker that does not sandbox builds. Programs that are built
//! there find each other by their paths, so it has to be where these say.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use musher_store::local::{LocalOptions, LocalStore};
use nix_derivation::StoreDir;
use rustix::fs::{FlockOperation, flock};

use super::WorkerError;

/// Where things are, all beside the store directory.
#[derive(Debug, Clone)]
pub(super) struct BareStore {
    options: LocalOptions,
    state: PathBuf,
}

impl BareStore {
    /// Nix's usual store on this machine.
    pub(super) fn here() -> Self {
        let options = LocalOptions::default();
        let state = state_of(&options.store_dir);
        Self { options, state }
    }

    /// What is ours beside the store.
    fn own(&self) -> PathBuf {
        self.state.join("musher")
    }

    /// Holds what tells this store from others, and says that it is a worker's.
    pub(super) fn id(&self) -> PathBuf {
        self.own().join("store-id")
    }

    /// Where builds lie while they run: where each may go through.
    pub(super) fn builds(&self) -> PathBuf {
        self.own().join("builds")
    }

    /// Opens the store, which is made if there is none. Held by one worker at a
    /// time, wherever that keeps its state: the other half of what is returned.
    pub(super) fn open(&self) -> Result<(LocalStore, File), WorkerError> {
        let (id, own) = (self.id(), self.own());
        let database = self.state.join("db/db.sqlite");
        if database.exists() && !id.exists() {
            return Err(WorkerError::ForeignStore {
                store: PathBuf::from(self.options.store_dir.as_str()),
            });
        }
        let no_place = |source| WorkerError::NoPlace {
            store: PathBuf::from(self.options.store_dir.as_str()),
            source,
        };
        fs::create_dir_all(&own).map_err(no_place)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&id)
            .map_err(no_place)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(WorkerError::Running { lock: id }),
            Err(errno) => return Err(WorkerError::file("lock", &id)(errno.into())),
        }
        match LocalStore::open(self.options.clone()) {
            Ok(store) => Ok((store, lock)),
            Err(error) if error.is_forbidden() => Err(no_place(io::Error::other(error))),
            Err(source) => Err(WorkerError::Store {
                root: PathBuf::from(self.options.store_dir.as_str()),
                source: Box::new(source),
            }),
        }
    }
}

/// Where Nix keeps the state of a store in `store_dir`.
fn state_of(store_dir: &StoreDir) -> PathBuf {
    let dir = Path::new(store_dir.as_str());
    dir.parent().unwrap_or(dir).join("var/nix")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store_in(dir: &Path) -> BareStore {
        let options = LocalOptions {
            store_dir: StoreDir::new(dir.join("store").display().to_string()).expect("a path"),
            ..LocalOptions::default()
        };
        let state = state_of(&options.store_dir);
        BareStore { options, state }
    }

    #[test]
    fn one_worker_has_a_store_where_its_paths_say() {
        let dir = tempfile::tempdir().expect("a directory");
        let bare = store_in(&dir.path().join("nix"));
        let (store, lock) = bare.open().expect("a store");
        assert_eq!(store.real_store_dir(), dir.path().join("nix/store"));
        assert!(matches!(bare.open(), Err(WorkerError::Running { .. })));
        drop((store, lock));
        bare.open().expect("the same store");
    }

    #[test]
    fn the_store_of_another_is_left_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let bare = store_in(&dir.path().join("nix"));
        drop(LocalStore::open(bare.options.clone()).expect("a store"));
        let error = bare.open().map(drop).expect_err("not ours");
        assert!(matches!(error, WorkerError::ForeignStore { .. }), "{error}");
        assert!(error.help().expect("advice").contains("kind = \"nix\""));
        assert!(!bare.own().exists());
    }

    #[test]
    fn where_no_store_can_be_made_it_is_said_how_to_make_room() {
        let dir = tempfile::tempdir().expect("a directory");
        // A file where the directory belongs refuses root as well.
        fs::write(dir.path().join("nix"), "").expect("written");
        let opened = store_in(&dir.path().join("nix")).open();
        let error = opened.map(drop).expect_err("no store");
        assert!(matches!(error, WorkerError::NoPlace { .. }), "{error}");
        assert!(error.help().expect("advice").contains("chown"));
    }
}
