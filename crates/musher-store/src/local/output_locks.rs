//! Locks on store paths that are being made: `PATH.lock`, as Nix takes them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix_derivation::StorePath;

use super::LocalError;
use super::flock::{Hold, lock_file, open_lock, try_lock_file};
use super::layout::Layout;
use super::wanted::Wanted;

/// How often whoever may give up looks whether a lock is free. `flock` would have
/// to be ended by a signal.
const LOOK: Duration = Duration::from_millis(20);

/// What to do about a path that somebody else has locked.
#[derive(Debug, Clone, Copy)]
pub enum Wait<'a> {
    /// Wait, for as long as it takes.
    ForIt,
    /// Wait for as long as somebody wants it; an error if nobody does any more.
    WhileWanted(&'a Wanted),
    /// Give up, and free what was locked so far.
    No,
}

/// Locks on store paths, free again when they are dropped.
#[derive(Debug, Default)]
pub struct OutputLocks(Vec<OutputLock>);

#[derive(Debug)]
struct OutputLock {
    path: PathBuf,
    file: File,
}

impl OutputLocks {
    pub(super) fn take(
        layout: &Layout,
        paths: &BTreeSet<StorePath>,
        wait: Wait<'_>,
    ) -> Result<Option<Self>, LocalError> {
        // In Nix's order, that of the names, so that nobody waits in a circle.
        let mut names: Vec<PathBuf> = paths.iter().map(|path| layout.real_path(path)).collect();
        names.sort();
        let mut locks = Self::default();
        for name in names {
            match OutputLock::take(&name, wait)? {
                Some(lock) => locks.0.push(lock),
                None => return Ok(None),
            }
        }
        Ok(Some(locks))
    }

    /// Adds the locks of `other`.
    pub(super) fn join(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }
}

impl OutputLock {
    fn take(real_path: &Path, wait: Wait<'_>) -> Result<Option<Self>, LocalError> {
        let mut path = real_path.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        loop {
            let file = open_lock(&path)?;
            match wait {
                Wait::ForIt => lock_file(&file, &path, Hold::Exclusive)?,
                Wait::WhileWanted(wanted) => {
                    while !try_lock_file(&file, &path, Hold::Exclusive)? {
                        if !wanted.is_wanted() {
                            return Err(LocalError::Unwanted { path });
                        }
                        thread::sleep(LOOK);
                    }
                }
                Wait::No => {
                    if !try_lock_file(&file, &path, Hold::Exclusive)? {
                        return Ok(None);
                    }
                }
            }
            // Whoever held it deletes the file and leaves a mark in it; the
            // next one to come makes a new file.
            let found = file.metadata().map_err(LocalError::io("look at", &path))?;
            if found.len() == 0 {
                return Ok(Some(Self { path, file }));
            }
        }
    }
}

impl Drop for OutputLock {
    fn drop(&mut self) {
        // A file that stays is locked again by the next one to come.
        if fs::remove_file(&self.path).is_ok() {
            let _ = self.file.write_all(b"d");
        }
    }
}
