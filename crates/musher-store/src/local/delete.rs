//! Deletes file trees whose directories are read-only, as they are in a store.
//! Works relative to open directories and follows no link.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fchmod, openat, statat, unlinkat};
use rustix::io::Errno;
use rustix::path::Arg;

use super::LocalError;

/// Deletes whatever is at `path`, if anything is. Returns the bytes that this
/// frees on disk; what other links keep is not counted.
pub(super) fn delete(path: &Path) -> Result<u64, LocalError> {
    let failed = LocalError::io("delete", path);
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(failed(io::ErrorKind::InvalidInput.into()));
    };
    let parent = match File::open(parent) {
        Ok(parent) => parent,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(failed(error)),
    };
    delete_at(parent.as_fd(), name).map_err(|errno| failed(errno.into()))
}

/// Deletes `name` in `parent`.
pub(super) fn delete_at(parent: BorrowedFd<'_>, name: &OsStr) -> Result<u64, Errno> {
    name.into_with_c_str(|name| delete_entry(parent, name))
}

fn delete_entry(parent: BorrowedFd<'_>, name: &CStr) -> Result<u64, Errno> {
    let found = match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => found,
        Err(Errno::NOENT) => return Ok(0),
        Err(errno) => return Err(errno),
    };
    let mut freed = 0;
    let mut flags = AtFlags::empty();
    if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
        flags = AtFlags::REMOVEDIR;
        freed += empty(parent, name)?;
    }
    match unlinkat(parent, name, flags) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    if flags == AtFlags::REMOVEDIR || found.st_nlink == 1 {
        freed += u64::try_from(found.st_blocks).unwrap_or(0) * 512;
    }
    Ok(freed)
}

/// Deletes what is in a directory.
fn empty(parent: BorrowedFd<'_>, name: &CStr) -> Result<u64, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = openat(parent, name, flags, Mode::empty())?;
    fchmod(&dir, Mode::from_raw_mode(0o700))?;
    let mut freed = 0;
    let mut entries = Dir::read_from(&dir)?;
    while let Some(entry) = entries.next().transpose()? {
        let name = entry.file_name();
        if name.to_bytes() != b"." && name.to_bytes() != b".." {
            freed += delete_entry(dir.as_fd(), name)?;
        }
    }
    Ok(freed)
}
