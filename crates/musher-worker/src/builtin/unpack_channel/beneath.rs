//! Makes files in a directory, and nowhere else: names that lead out of it, or
//! through a link, are refused.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, linkat, mkdirat, openat, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;

/// Why something cannot be made.
#[derive(Debug)]
pub(super) enum BeneathError {
    /// The name leads elsewhere; the text follows it in a sentence.
    Leads(&'static str),
    /// The system refused.
    Io(io::Error),
}

impl From<Errno> for BeneathError {
    fn from(errno: Errno) -> Self {
        Self::Io(errno.into())
    }
}

/// A directory to make files in.
#[derive(Debug)]
pub(super) struct Beneath(OwnedFd);

/// Where something is to be made: an open directory, and a name in it.
struct Spot {
    directory: OwnedFd,
    name: CString,
}

const DIRECTORY: OFlags = OFlags::DIRECTORY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

impl Beneath {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(openat(CWD, path, DIRECTORY, Mode::empty())?))
    }

    /// Makes the directory `path`, and those above it. One that is there stays.
    pub(super) fn directory(&self, path: &[u8]) -> Result<(), BeneathError> {
        match self.spot(path)? {
            None => Ok(()),
            Some(spot) => enter(&spot.directory, &spot.name).map(drop),
        }
    }

    /// Makes the file `path`, empty. What is there goes.
    pub(super) fn file(&self, path: &[u8], executable: bool) -> Result<File, BeneathError> {
        let spot = self.cleared(path)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(if executable { 0o755 } else { 0o644 });
        Ok(openat(&spot.directory, &spot.name, flags, mode)?.into())
    }

    /// Makes the symbolic link `path`. What is there goes.
    pub(super) fn symlink(&self, path: &[u8], target: &[u8]) -> Result<(), BeneathError> {
        let spot = self.cleared(path)?;
        Ok(symlinkat(
            OsStr::from_bytes(target),
            &spot.directory,
            &spot.name,
        )?)
    }

    /// Makes `path` another name of the file `original`. What is there goes.
    pub(super) fn link(&self, path: &[u8], original: &[u8]) -> Result<(), BeneathError> {
        let original = self.spot(original)?.ok_or(NO_FILE)?;
        let spot = self.cleared(path)?;
        Ok(linkat(
            &original.directory,
            &original.name,
            &spot.directory,
            &spot.name,
            AtFlags::empty(),
        )?)
    }

    /// Where `path` is to be made, with nothing there that is no directory.
    fn cleared(&self, path: &[u8]) -> Result<Spot, BeneathError> {
        let spot = self.spot(path)?.ok_or(NO_FILE)?;
        match unlinkat(&spot.directory, &spot.name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(spot),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Where `path` is, its directories being made. None for this directory
    /// itself. A slash at the beginning does not count.
    fn spot(&self, path: &[u8]) -> Result<Option<Spot>, BeneathError> {
        let parts = path.split(|byte| *byte == b'/');
        let mut parts = parts.filter(|part| !matches!(*part, b"" | b"."));
        let Some(mut name) = parts.next() else {
            return Ok(None);
        };
        let mut directory = openat(&self.0, c".", DIRECTORY, Mode::empty())?;
        for next in parts {
            directory = enter(&directory, &part(name)?)?;
            name = next;
        }
        let name = part(name)?;
        Ok(Some(Spot { directory, name }))
    }
}

const NO_FILE: BeneathError = BeneathError::Leads("has no name");

fn part(name: &[u8]) -> Result<CString, BeneathError> {
    if name == b".." {
        return Err(BeneathError::Leads("leads out of its directory"));
    }
    CString::new(name).map_err(|_| BeneathError::Leads("has a null byte in its name"))
}

/// Opens directory `name`, and makes it if there is none.
fn enter(directory: impl AsFd, name: &CString) -> Result<OwnedFd, BeneathError> {
    match mkdirat(&directory, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno.into()),
    }
    match openat(&directory, name, DIRECTORY, Mode::empty()) {
        Ok(opened) => Ok(opened),
        Err(errno @ (Errno::NOTDIR | Errno::LOOP)) => {
            let found = statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(found.st_mode) == FileType::Symlink {
                return Err(BeneathError::Leads("leads through a symbolic link"));
            }
            Err(errno.into())
        }
        Err(errno) => Err(errno.into()),
    }
}
