//! Removes what a build left behind, whatever that is: directories nobody may
//! read, trees deeper than there are file descriptors or than a path is long.
//! Goes by open directories, and follows no symbolic link.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, chmod, fstat, openat, renameat, unlinkat};
use rustix::io::Errno;

/// How many directories are open at once. What lies deeper is moved up first.
const MAX_OPEN: usize = 32;

/// Removes what is at `path`, if anything is.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    if unlinked(CWD, &name)? {
        return Ok(());
    }
    let Some(top) = opened(CWD, &name)? else {
        return Ok(());
    };
    let mut removal = Removal {
        top: top.as_fd(),
        moved: 0,
    };
    // What was moved up may have been missed by the first look.
    while !removal.empty(top.as_fd(), 0)? {}
    match unlinkat(CWD, &name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Removes `name` unless it is a directory; false if it is one.
fn unlinked(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<bool> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::ISDIR) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Opens directory `name` so that it can be emptied; none if it is gone.
fn opened(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let place = match openat(parent, name, flags | OFlags::PATH, Mode::empty()) {
        Ok(place) => place,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    if Mode::from_raw_mode(fstat(&place)?.st_mode) & Mode::RWXU != Mode::RWXU {
        // A descriptor that can be had without permissions has no `fchmod`.
        chmod(format!("/proc/self/fd/{}", place.as_raw_fd()), Mode::RWXU)?;
    }
    Ok(Some(openat(&place, c".", flags, Mode::empty())?))
}

struct Removal<'a> {
    /// Where deep directories are moved to.
    top: BorrowedFd<'a>,
    /// How many were.
    moved: u64,
}

impl Removal<'_> {
    /// Removes what is in `directory`. True if there was nothing.
    fn empty(&mut self, directory: BorrowedFd<'_>, depth: usize) -> io::Result<bool> {
        let mut was_empty = true;
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            was_empty = false;
            if unlinked(directory, name)? {
                continue;
            }
            // Opened also to be moved, which takes the right to write to it.
            let Some(inner) = opened(directory, name)? else {
                continue;
            };
            if depth == MAX_OPEN {
                self.lift(directory, name)?;
                continue;
            }
            while !self.empty(inner.as_fd(), depth + 1)? {}
            unlinkat(directory, name, AtFlags::REMOVEDIR)?;
        }
        Ok(was_empty)
    }

    /// Moves a directory to the top, under a name that is free there.
    fn lift(&mut self, directory: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
        loop {
            self.moved += 1;
            let to = format!("musher-remove-{}", self.moved);
            match renameat(directory, name, self.top, to) {
                Ok(()) => return Ok(()),
                Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use rustix::fs::mkdirat;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn trees_deeper_than_a_path_is_long_are_removed() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("root");
        fs::create_dir(&root).unwrap();
        let mut deepest = OwnedFd::from(fs::File::open(&root).unwrap());
        for _ in 0..3000 {
            mkdirat(&deepest, "deep", Mode::RWXU).unwrap();
            let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
            deepest = openat(&deepest, "deep", flags, Mode::empty()).unwrap();
        }
        remove_tree(&root).unwrap();
        assert!(!root.exists());
    }

    #[test]
    fn modes_stand_in_nobodys_way_and_links_lead_nowhere() {
        let scratch = tempfile::tempdir().unwrap();
        let kept = scratch.path().join("kept");
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("file"), "").unwrap();
        let root = scratch.path().join("root");
        fs::create_dir_all(root.join("closed/inner")).unwrap();
        symlink(&kept, root.join("closed/link")).unwrap();
        fs::set_permissions(root.join("closed/inner"), PermissionsExt::from_mode(0o000)).unwrap();
        fs::set_permissions(root.join("closed"), PermissionsExt::from_mode(0o000)).unwrap();
        remove_tree(&root).unwrap();
        assert!(!root.exists());
        let link = scratch.path().join("link");
        symlink(&kept, &link).unwrap();
        remove_tree(&link).unwrap();
        assert!(!link.is_symlink() && kept.join("file").exists());
        remove_tree(&link).unwrap();
    }
}
