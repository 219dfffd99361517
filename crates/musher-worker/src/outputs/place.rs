//! Moves a tree to where it is to be. Decides nothing about what may be there.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, RenameFlags, fchmod, renameat_with};
use rustix::io::Errno;

use super::aside::Aside;
use super::remove::remove_tree;

/// Renames `from` to `to`, where nothing may be.
pub(crate) fn move_tree(from: &Path, to: &Path) -> io::Result<()> {
    with_writable(from, || fs::rename(from, to))
}

/// Puts `from` in the place of `to`, which is there, and removes what was. At
/// no instant is there nothing at `to`.
pub(crate) fn replace_tree(from: &Path, to: &Path, store: &Path) -> io::Result<()> {
    let exchanged = with_writable(from, || {
        with_writable(to, || {
            match renameat_with(CWD, from, CWD, to, RenameFlags::EXCHANGE) {
                Ok(()) => Ok(true),
                // Not every file system can.
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(false),
                Err(errno) => Err(errno.into()),
            }
        })
    })?;
    if exchanged {
        return remove_tree(from);
    }
    let old = Aside::create(store)?;
    move_tree(to, &old.place())?;
    let moved = move_tree(from, to);
    if moved.is_err() {
        move_tree(&old.place(), to)?;
    }
    moved
}

/// Does `work` while the directory at `path`, if it is one, may be written to:
/// one that is moved to another directory has its `..` changed.
fn with_writable<T>(path: &Path, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let found = fs::symlink_metadata(path)?;
    if !found.is_dir() || found.mode() & 0o200 != 0 {
        return work();
    }
    let flags = (OFlags::DIRECTORY | OFlags::NOFOLLOW).bits();
    let directory = File::options()
        .read(true)
        .custom_flags(flags.cast_signed())
        .open(path)?;
    let mode = Mode::from_raw_mode(found.mode() & 0o7777);
    fchmod(&directory, mode | Mode::WUSR)?;
    let done = work();
    // By its descriptor, whatever it is called now.
    fchmod(&directory, mode)?;
    done
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn directory(path: &Path, file: &str) {
        fs::create_dir(path).unwrap();
        fs::write(path.join(file), "").unwrap();
        fs::set_permissions(path, PermissionsExt::from_mode(0o555)).unwrap();
    }

    #[test]
    fn a_moved_directory_is_read_only_again() {
        let scratch = tempfile::tempdir().unwrap();
        let (from, to) = (scratch.path().join("from"), scratch.path().join("to"));
        directory(&from, "file");
        move_tree(&from, &to).unwrap();
        assert_eq!(fs::metadata(&to).unwrap().mode() & 0o7777, 0o555);
        remove_tree(&to).unwrap();
    }

    #[test]
    fn a_replaced_tree_is_gone() {
        let scratch = tempfile::tempdir().unwrap();
        let (from, to) = (scratch.path().join("from"), scratch.path().join("to"));
        directory(&from, "new");
        directory(&to, "old");
        replace_tree(&from, &to, scratch.path()).unwrap();
        assert!(to.join("new").exists() && !to.join("old").exists() && !from.exists());
        assert_eq!(fs::metadata(&to).unwrap().mode() & 0o7777, 0o555);
        remove_tree(&to).unwrap();
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
    }
}
