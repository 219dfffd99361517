//! A file in `temproots`: paths in use, each followed by a NUL. It counts for as
//! long as its owner keeps it locked. Nix names its own by the process's id; ours
//! are `ID-NUMBER`, which Nix reads in the same way.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::LocalError;
use super::super::flock::{Hold, open_lock, try_lock_file};

static NEXT: AtomicU64 = AtomicU64::new(0);

/// A list that is deleted when it is dropped.
#[derive(Debug)]
pub(super) struct List {
    path: PathBuf,
    file: File,
    /// Of what is written in full.
    length: u64,
}

impl List {
    /// An empty one in `dir`.
    pub(super) fn create(dir: &Path) -> Result<Self, LocalError> {
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = dir.join(format!("{}-{number}", process::id()));
            let file = open_lock(&path)?;
            // Another process may have our id, in another namespace.
            if !try_lock_file(&file, &path, Hold::Exclusive)? {
                continue;
            }
            // A collector that locked it before us has deleted it, and left a
            // mark; or it is what a killed process left, which we leave to the
            // collector.
            let found = file.metadata().map_err(LocalError::io("look at", &path))?;
            if found.len() == 0 {
                let length = 0;
                return Ok(Self { path, file, length });
            }
        }
    }

    /// Writes `text`, all of it or nothing: what a full disk cut short would
    /// run into the next path.
    pub(super) fn append(&mut self, text: &str) -> Result<(), LocalError> {
        match self.file.write_all_at(text.as_bytes(), self.length) {
            Ok(()) => {
                self.length += text.len() as u64;
                Ok(())
            }
            Err(error) => {
                // Where this fails, the next text lies over it.
                let _ = self.file.set_len(self.length);
                Err(LocalError::io("write", &self.path)(error))
            }
        }
    }
}

impl Drop for List {
    fn drop(&mut self) {
        // What stays is deleted by the next collector, since nobody locks it.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use super::*;

    #[test]
    fn what_was_cut_short_is_as_if_never_written() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut list = List::create(dir.path()).expect("a list");
        list.append("first\0").expect("room");
        let good = list.file.try_clone().expect("a descriptor");
        // What fills the disk leaves the beginning of the text.
        good.write_all_at(b"second, cut sh", 6).expect("room");
        let read_only = OpenOptions::new().read(true).open(&list.path);
        list.file = read_only.expect("a file");
        assert!(list.append("second, cut short\0").is_err());
        list.file = good;
        list.append("third\0").expect("room");
        let text = fs::read_to_string(&list.path).expect("a text");
        assert!(text.starts_with("first\0third\0"), "{text:?}");
    }
}
