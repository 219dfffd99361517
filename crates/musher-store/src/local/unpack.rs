//! Unpacks a NAR to disk with the metadata that store paths have: modes 0444
//! and 0555, modification time 1. Works relative to open directories, so that
//! nobody can redirect it, and hashes what it reads. Knows no store.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use musher_protocol::types::NarHash;
use nix_archive::nar::{self, Event, FileContents, ReadEvent, decode_events_reader};
use rustix::fs::{
    AtFlags, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, fchmod, fstat, futimens, mkdirat,
    openat, symlinkat, utimensat,
};

use super::hashing::HashingReader;

/// What was unpacked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unpacked {
    /// Digest of the bytes read.
    pub(super) hash: NarHash,
    /// How many they were.
    pub(super) size: u64,
    /// Whether every file got the mode it was made with. Otherwise the umask or
    /// an ACL of the store directory stood in the way, and the tree is to be
    /// canonicalised.
    pub(super) canonical: bool,
}

/// Unpacks the NAR that `source` has, up to its end, as `name` in `parent`,
/// where nothing of that name may be. `size` is how long it should be.
pub(super) fn unpack(
    source: &mut dyn Read,
    size: u64,
    parent: BorrowedFd<'_>,
    name: &OsStr,
) -> Result<Unpacked, nar::Error> {
    let mut reader = HashingReader::new(source, size);
    let mut tree = Tree {
        parent,
        name,
        open: Vec::new(),
        buffer: vec![0; reader.chunk_size()],
        checked: [false; 2],
        canonical: true,
    };
    decode_events_reader(&mut reader, |event| Ok(tree.put(event)?))?;
    let canonical = tree.canonical;
    let (hash, size) = reader.finish();
    Ok(Unpacked {
        hash,
        size,
        canonical,
    })
}

/// The tree as far as it was unpacked.
struct Tree<'a> {
    parent: BorrowedFd<'a>,
    name: &'a OsStr,
    /// The directories that are being filled, outermost first.
    open: Vec<OwnedFd>,
    buffer: Vec<u8>,
    /// Whether a file was looked at, by whether it is executable.
    checked: [bool; 2],
    canonical: bool,
}

impl Tree<'_> {
    fn put<R: Read + ?Sized>(&mut self, event: ReadEvent<'_, R>) -> io::Result<()> {
        match event {
            Event::DirectoryStart { name } => {
                let (parent, name) = self.place(name);
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                mkdirat(parent, name, Mode::from_raw_mode(0o700))?;
                let dir = openat(parent, name, flags, Mode::empty())?;
                self.open.push(dir);
            }
            Event::DirectoryEnd { .. } => {
                if let Some(dir) = self.open.pop() {
                    fchmod(&dir, Mode::from_raw_mode(0o555))?;
                    futimens(&dir, &STORE_TIME)?;
                }
            }
            Event::Regular {
                name,
                executable,
                contents,
            } => self.put_file(name, executable, contents)?,
            Event::Symlink { name, target } => {
                let (parent, name) = self.place(name);
                symlinkat(OsStr::from_bytes(target), parent, name)?;
                utimensat(parent, name, &STORE_TIME, AtFlags::SYMLINK_NOFOLLOW)?;
            }
        }
        Ok(())
    }

    fn put_file<R: Read + ?Sized>(
        &mut self,
        name: Option<&[u8]>,
        executable: bool,
        mut contents: FileContents<'_, R>,
    ) -> io::Result<()> {
        let (parent, name) = self.place(name);
        let mode = match executable {
            true => Mode::from_raw_mode(0o555),
            false => Mode::from_raw_mode(0o444),
        };
        // The mode is no hindrance to the one who makes the file.
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(parent, name, flags, mode)?);
        loop {
            match contents.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(count) => file.write_all(&self.buffer[..count])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        futimens(&file, &STORE_TIME)?;
        // One look at the first of each kind says what the others got.
        let checked = &mut self.checked[usize::from(executable)];
        if !*checked {
            *checked = true;
            let got = Mode::from_raw_mode(fstat(&file)?.st_mode);
            self.canonical &= got == mode;
        }
        Ok(())
    }

    /// Where the next entry belongs.
    fn place<'b>(&'b self, name: Option<&'b [u8]>) -> (BorrowedFd<'b>, &'b OsStr) {
        match (self.open.last(), name) {
            (Some(dir), Some(name)) => (dir.as_fd(), OsStr::from_bytes(name)),
            _ => (self.parent, self.name),
        }
    }
}

/// The modification time of everything in a store: one second into 1970. The
/// access time stays.
pub(super) const STORE_TIME: Timestamps = Timestamps {
    last_access: Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_OMIT,
    },
    last_modification: Timespec {
        tv_sec: 1,
        tv_nsec: 0,
    },
};
