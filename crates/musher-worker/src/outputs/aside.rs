//! Places in the store directory where outputs are made before they have their
//! names. Only we may enter them, unlike those the build program wrote to.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FlockOperation, flock};

use super::remove::remove_tree;

/// A directory of our own beside the store paths; removed when dropped.
///
/// Its name and the lock on it tell Nix's garbage collector to leave it alone.
#[derive(Debug)]
pub(crate) struct Aside {
    directory: PathBuf,
    _lock: File,
}

impl Aside {
    /// A new one in the store that lies at `store`.
    pub(crate) fn create(store: &Path) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);

        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let directory = store.join(format!("tmp-{}-{number}", process::id()));
            match fs::DirBuilder::new().mode(0o700).create(&directory) {
                Ok(()) => {}
                // Of a process that had our number before.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            }
            let lock = match File::open(&directory) {
                Ok(lock) => lock,
                // A collector came in between.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            flock(&lock, FlockOperation::LockExclusive)?;
            if directory.exists() {
                return Ok(Self {
                    directory,
                    _lock: lock,
                });
            }
        }
    }

    /// Where the one thing goes that it is for.
    pub(crate) fn place(&self) -> PathBuf {
        self.directory.join("x")
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // What stays is garbage that a collection finds.
        let _ = remove_tree(&self.directory);
    }
}
