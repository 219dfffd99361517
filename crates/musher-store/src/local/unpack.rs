//! Unpacks a NAR to disk with the metadata that store paths have: modes 0444
//! and 0555, modification time 1. Works relative to open directories, so that
//! nobody can redirect it, and hashes what it reads. Knows no store.

mod writers;

use std::ffi::OsStr;
use std::io::{self, Read, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use musher_protocol::types::NarHash;
use nix_archive::nar::{self, Event, FileContents, ReadEvent, decode_events_reader};
use rustix::fs::{
    AtFlags, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, mkdirat, openat, symlinkat, utimensat,
};

use self::writers::{Directory, SMALL, SmallFile, Writers};
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
        chunk_size: reader.chunk_size(),
        writers: Writers::new(),
    };
    decode_events_reader(&mut reader, |event| Ok(tree.put(event)?))?;
    let canonical = tree.writers.finish()?;
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
    open: Vec<Arc<Directory>>,
    /// Bytes of a large file that are written at a time.
    chunk_size: usize,
    writers: Writers,
}

impl Tree<'_> {
    fn put<R: Read + ?Sized>(&mut self, event: ReadEvent<'_, R>) -> io::Result<()> {
        match event {
            Event::DirectoryStart { name } => {
                let (parent, name) = self.place(name);
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                mkdirat(parent, name, Mode::from_raw_mode(0o700))?;
                let dir = openat(parent, name, flags, Mode::empty())?;
                let parent = self.open.last().cloned();
                self.open.push(self.writers.directory(dir, parent));
            }
            Event::DirectoryEnd { .. } => drop(self.open.pop()),
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
        if let (Some(dir), Some(name), 0..=SMALL) = (self.open.last(), name, contents.size()) {
            let mut bytes = Vec::with_capacity(usize::try_from(contents.size()).unwrap_or(0));
            contents.read_to_end(&mut bytes)?;
            return self.writers.write(SmallFile {
                dir: Arc::clone(dir),
                name: OsStr::from_bytes(name).to_owned(),
                executable,
                contents: bytes,
            });
        }
        let (parent, name) = self.place(name);
        let outcome = self.writers.outcome();
        let mut buffer = vec![0; self.chunk_size];
        outcome.write_file(parent, name, executable, |file| {
            loop {
                match contents.read(&mut buffer) {
                    Ok(0) => return Ok(()),
                    Ok(count) => file.write_all(&buffer[..count])?,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        })
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
