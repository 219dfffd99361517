//! What lies in a store directory and is no valid path: what killed processes
//! left, and links to contents that nothing has any more.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix_derivation::{StorePath, nixbase32};

use super::super::LocalError;
use super::super::delete::delete as delete_tree;
use super::super::flock::{Hold, try_lock_file};
use super::super::layout::Layout;
use super::sweep::Sweep;
use super::{GcReport, Goal};

/// Digits of a path's hash part.
const HASH_PART: usize = 32;

/// Deletes them, but for what somebody is at work on: what shares its hash part
/// with a path in use, and Nix's directories that are locked.
pub(super) fn delete(
    sweep: &Sweep<'_>,
    goal: &mut Goal,
    report: &mut GcReport,
    progress: &mut dyn FnMut(u64),
) -> Result<(), LocalError> {
    let dir = &sweep.store.layout.store;
    let links = sweep.store.layout.links();
    let entries = fs::read_dir(dir).map_err(LocalError::io("list", dir))?;
    for entry in entries {
        let entry = entry.map_err(LocalError::io("list", dir))?;
        let (name, path) = (entry.file_name(), entry.path());
        let is_path = StorePath::from_basename(name.as_bytes())
            .is_ok_and(|path| sweep.graph.find(&path).is_some());
        if is_path || path == links {
            continue;
        }
        let hash_part = hash_part(name.as_bytes());
        let is_ours = match &hash_part {
            Some(hash_part) => sweep.server.begin(hash_part),
            None => !is_locked(name.as_bytes(), &path),
        };
        if !is_ours {
            continue;
        }
        let deleted = delete_unless_valid(sweep, name.as_bytes(), &path);
        if let Some(hash_part) = &hash_part {
            sweep.server.end(hash_part);
        }
        if let Some(freed) = deleted? {
            goal.count(freed);
            report.freed += freed;
            report.strays += 1;
            progress(report.freed);
        }
    }
    Ok(())
}

/// A path may have become valid since we looked.
fn delete_unless_valid(
    sweep: &Sweep<'_>,
    name: &[u8],
    path: &Path,
) -> Result<Option<u64>, LocalError> {
    if let Ok(path) = StorePath::from_basename(name)
        && sweep.store.is_valid(&path)?
    {
        return Ok(None);
    }
    delete_tree(path).map(Some)
}

fn hash_part(name: &[u8]) -> Option<[u8; 20]> {
    let digits = name.get(..HASH_PART)?;
    nixbase32::decode(digits).ok()?.try_into().ok()
}

/// Nix unpacks into directories named `tmp-…`, which it keeps locked.
fn is_locked(name: &[u8], path: &Path) -> bool {
    if !name.starts_with(b"tmp-") {
        return false;
    }
    let Ok(dir) = File::open(path) else {
        return false;
    };
    !try_lock_file(&dir, path, Hold::Exclusive).unwrap_or(false)
}

/// Deletes links to contents that no path has any more. Returns the bytes that
/// this frees.
pub(super) fn delete_links(layout: &Layout) -> Result<u64, LocalError> {
    let dir = layout.links();
    let entries = fs::read_dir(&dir).map_err(LocalError::io("list", &dir))?;
    let mut freed = 0;
    for entry in entries {
        let entry = entry.map_err(LocalError::io("list", &dir))?;
        let found = match entry.metadata() {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(LocalError::io("look at", &entry.path())(error)),
        };
        if found.nlink() == 1 {
            fs::remove_file(entry.path()).map_err(LocalError::io("delete", &entry.path()))?;
            freed += found.blocks() * 512;
        }
    }
    Ok(freed)
}
