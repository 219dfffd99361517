//! Where a worker keeps what. Knows the names, and makes nothing.

use std::path::{Path, PathBuf};

/// The files and directories of one worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerPlaces {
    /// What is kept: the store, logs.
    pub state: PathBuf,
    /// Where sockets are; gone after a reboot.
    pub run: PathBuf,
}

impl WorkerPlaces {
    /// The root of the store: paths lie below it as they are called.
    pub fn store_root(&self) -> PathBuf {
        self.state.join("store")
    }

    /// Where builds lie while they run.
    pub(crate) fn builds(&self) -> PathBuf {
        self.state.join("builds")
    }

    /// Where the logs of attempts lie.
    pub(crate) fn logs(&self) -> PathBuf {
        self.state.join("logs")
    }

    /// What the worker itself has to say.
    pub fn own_log(&self) -> PathBuf {
        self.state.join("worker.log")
    }

    /// Held by the one worker of this store.
    pub(crate) fn lock(&self) -> PathBuf {
        self.state.join("worker.lock")
    }

    /// Holds what tells this store from others.
    pub(crate) fn store_id(&self) -> PathBuf {
        self.state.join("store-id")
    }

    /// A directory that only its owner may enter.
    pub(crate) fn private(&self) -> PathBuf {
        self.run.join("worker")
    }

    /// The worker's socket.
    pub fn socket(&self) -> PathBuf {
        self.private().join("socket")
    }

    /// Says which binary the worker is.
    pub(crate) fn binary(&self) -> PathBuf {
        self.private().join("binary")
    }

    /// Held by whoever starts a worker.
    pub(crate) fn start_lock(&self) -> PathBuf {
        self.private().join("start.lock")
    }

    /// The options by which another process of ours finds the same places.
    pub(crate) fn options(&self) -> [(&'static str, &Path); 2] {
        [("--state", &self.state), ("--run", &self.run)]
    }
}
