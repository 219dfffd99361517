//! The new root directory while it is made: finds and makes places below it,
//! never following a symbolic link, which would lead out of it.

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::failure;
use crate::error::{Attempt, SetupError};

/// What a place to mount on must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
}

/// A root directory that is not yet one.
pub(super) struct Tree {
    root: OwnedFd,
    path: PathBuf,
}

impl Tree {
    /// Opens the directory that will be the root.
    pub(super) fn open(path: &Path) -> Result<Self, Errno> {
        Ok(Self {
            root: directory(rustix::fs::CWD, path.as_os_str())?,
            path: path.to_path_buf(),
        })
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Where it lies as long as it is not the root.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a directory and its parents; `mode` is for the last.
    pub(super) fn make_directory(&self, path: &Path, mode: u32) -> Result<OwnedFd, SetupError> {
        let made = self.descend(path).and_then(|fd| {
            rustix::fs::chmodat(&fd, ".", Mode::from_raw_mode(mode), AtFlags::empty())?;
            Ok(fd)
        });
        made.map_err(failure(Attempt::MakeDirectory, path))
    }

    /// Writes a file that all may read.
    pub(super) fn write_file(&self, path: &Path, text: &str) -> Result<(), SetupError> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        self.parent(path)
            .and_then(|(dir, name)| {
                let mode = Mode::from_raw_mode(0o644);
                let file = rustix::fs::openat(&dir, name, flags | OFlags::NOFOLLOW, mode)?;
                let mut file = std::fs::File::from(file);
                file.write_all(text.as_bytes())
                    .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
            })
            .map_err(failure(Attempt::WriteFile, path))
    }

    /// Makes a symbolic link.
    pub(super) fn make_link(&self, path: &Path, to: &Path) -> Result<(), SetupError> {
        self.parent(path)
            .and_then(|(dir, name)| rustix::fs::symlinkat(to, &dir, name))
            .map_err(failure(Attempt::MakeLink, path))
    }

    /// Whether something is there.
    pub(super) fn has(&self, path: &Path) -> bool {
        let mut at = None;
        for part in parts(path) {
            let base = at.as_ref().map_or(self.root.as_fd(), AsFd::as_fd);
            match place(base, part) {
                Ok(fd) => at = Some(fd),
                Err(_) => return false,
            }
        }
        true
    }

    /// Finds or makes something to mount on.
    pub(super) fn target(&self, path: &Path, kind: Kind) -> Result<OwnedFd, SetupError> {
        self.parent(path)
            .and_then(|(dir, name)| target_in(dir.as_fd(), name, kind))
            .map_err(failure(Attempt::MakeTarget, path))
    }

    /// Opens a directory that is there.
    pub(super) fn directory(&self, path: &Path) -> Result<OwnedFd, SetupError> {
        self.descend(path)
            .map_err(failure(Attempt::MakeTarget, path))
    }

    fn parent<'a>(&self, path: &'a Path) -> Result<(OwnedFd, &'a OsStr), Errno> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Errno::INVAL);
        };
        Ok((self.descend(parent)?, name))
    }

    /// Goes down, making what is missing.
    fn descend(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let mut at = directory(self.root.as_fd(), OsStr::new("."))?;
        for part in parts(path) {
            at = match directory(at.as_fd(), part) {
                Err(Errno::NOENT) => {
                    make(at.as_fd(), part, Kind::Directory)?;
                    directory(at.as_fd(), part)?
                }
                // The kernel says of a link that it is no directory.
                Err(Errno::NOTDIR) if is_link(at.as_fd(), part) => return Err(Errno::LOOP),
                found => found?,
            };
        }
        Ok(at)
    }
}

/// Finds or makes something to mount on in a directory.
pub(super) fn target_in(dir: BorrowedFd<'_>, name: &OsStr, kind: Kind) -> Result<OwnedFd, Errno> {
    match make(dir, name, kind) {
        Ok(()) | Err(Errno::EXIST) => {}
        // Mounted read-only, which is fine if the place is there.
        Err(Errno::ROFS) => {}
        Err(errno) => return Err(errno),
    }
    if is_link(dir, name) {
        return Err(Errno::LOOP);
    }
    place(dir, name)
}

fn make(dir: BorrowedFd<'_>, name: &OsStr, kind: Kind) -> Result<(), Errno> {
    match kind {
        Kind::Directory => rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o755)),
        Kind::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o444)).map(drop)
        }
    }
}

fn directory(dir: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

fn place(dir: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

fn is_link(dir: BorrowedFd<'_>, name: &OsStr) -> bool {
    rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_symlink())
}

fn parts(path: &Path) -> impl Iterator<Item = &OsStr> {
    path.components().filter_map(|part| match part {
        Component::Normal(part) => Some(part),
        Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => {
            None
        }
    })
}
