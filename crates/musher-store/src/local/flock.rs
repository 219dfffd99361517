//! Locks on files, as Nix takes them: `flock`, which ends with the process
//! that holds it. Knows not what they protect.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::LocalError;

/// How a lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    /// With others that hold it so.
    Shared,
    /// Alone.
    Exclusive,
}

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of the file at `path`, which is made if there is none.
    pub(super) fn wait(path: &Path, hold: Hold) -> Result<Self, LocalError> {
        let file = open_lock(path)?;
        lock_file(&file, path, hold)?;
        Ok(Self { _file: file })
    }
}

/// Opens a lock's file, and makes it if there is none.
pub(super) fn open_lock(path: &Path) -> Result<File, LocalError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(LocalError::io("open the lock", path))
}

/// Waits until the lock is ours.
pub(super) fn lock_file(file: &File, path: &Path, hold: Hold) -> Result<(), LocalError> {
    let operation = match hold {
        Hold::Shared => FlockOperation::LockShared,
        Hold::Exclusive => FlockOperation::LockExclusive,
    };
    rustix::io::retry_on_intr(|| flock(file, operation))
        .map_err(|errno| LocalError::io("lock", path)(errno.into()))
}

/// Whether the lock is ours now, without waiting.
pub(super) fn try_lock_file(file: &File, path: &Path, hold: Hold) -> Result<bool, LocalError> {
    let operation = match hold {
        Hold::Shared => FlockOperation::NonBlockingLockShared,
        Hold::Exclusive => FlockOperation::NonBlockingLockExclusive,
    };
    match rustix::io::retry_on_intr(|| flock(file, operation)) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(LocalError::io("lock", path)(errno.into())),
    }
}

/// Gives a lock back whose file stays open.
pub(super) fn unlock_file(file: &File, path: &Path) -> Result<(), LocalError> {
    rustix::io::retry_on_intr(|| flock(file, FlockOperation::Unlock))
        .map_err(|errno| LocalError::io("unlock", path)(errno.into()))
}
