//! The directories of one build, and the directory they are all in. What a
//! build leaves is removed with its room, and what a killed executor left with
//! the next executor's start.
//!
//! ```text
//! ROOT/lock             held by the executor
//! ROOT/rooms/N/build    the build directory, `/build` inside
//! ROOT/rooms/N/scratch  the sandbox's own, the outputs among it
//! ROOT/kept/NAME-N      build directories of failed builds
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown, fchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use musher_sandbox::Ids;
use rustix::fs::FlockOperation;

use crate::outputs::remove_tree;

/// A directory could not be made, or used, or serves no build.
#[derive(Debug, thiserror::Error)]
pub enum RoomError {
    /// The system refused.
    #[error("cannot {attempt} `{}`", .path.display())]
    Io {
        /// What was tried.
        attempt: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A store that is not where its paths say can only be used in a sandbox.
    #[error(
        "the store at `{}` is not where its paths say, so nothing can be built in it without a sandbox",
        .store.display()
    )]
    Diverted {
        /// Where it is.
        store: PathBuf,
    },
    /// Somebody else builds there.
    #[error("another process builds below `{}`", .path.display())]
    Taken {
        /// The directory.
        path: PathBuf,
    },
}

impl RoomError {
    pub(super) fn io(attempt: &'static str, path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io {
            attempt,
            path: path.to_owned(),
            source,
        }
    }
}

/// The directory that all rooms are in; ours alone.
#[derive(Debug)]
pub(super) struct Rooms {
    root: PathBuf,
    next: AtomicU64,
    _lock: File,
}

impl Rooms {
    /// The rooms below `root`, which is made, and emptied of what others left
    /// there.
    pub(super) fn open(root: &Path) -> Result<Self, RoomError> {
        let rooms = root.join("rooms");
        fs::create_dir_all(&rooms).map_err(RoomError::io("make the directory", &rooms))?;
        let lock_path = root.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(RoomError::io("open", &lock_path))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(RoomError::Taken {
                    path: root.to_owned(),
                });
            }
            Err(error) => return Err(RoomError::io("lock", &lock_path)(error.into())),
        }
        for entry in fs::read_dir(&rooms).map_err(RoomError::io("read", &rooms))? {
            let path = entry.map_err(RoomError::io("read", &rooms))?.path();
            remove_tree(&path).map_err(RoomError::io("remove", &path))?;
        }
        Ok(Self {
            root: root.to_owned(),
            next: AtomicU64::new(0),
            _lock: lock,
        })
    }

    /// Lets other users go through to their own rooms.
    pub(super) fn let_through(&self) -> Result<(), RoomError> {
        for path in [&self.root, &self.root.join("rooms")] {
            fs::set_permissions(path, Permissions::from_mode(0o711))
                .map_err(RoomError::io("open to builds", path))?;
        }
        Ok(())
    }

    /// A new room, whose build directory belongs to `owner`, if given. Without
    /// a sandbox they have to go through it.
    pub(super) fn room(&self, owner: Option<Ids>, sandboxed: bool) -> Result<Room, RoomError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let room = Room {
            path: self.root.join("rooms").join(number.to_string()),
            owner,
        };
        // Nobody but us enters it: what the build makes there, setuid or open
        // to all, is out of everybody's reach.
        for path in [room.path.clone(), room.build_dir(), room.scratch()] {
            DirBuilder::new()
                .mode(0o700)
                .create(&path)
                .map_err(RoomError::io("make the directory", &path))?;
        }
        if let Some(Ids { uid, gid }) = owner {
            let path = room.build_dir();
            chown(&path, Some(uid), Some(gid))
                .map_err(RoomError::io("change the owner of", &path))?;
            if !sandboxed {
                chown(&room.path, None, Some(gid))
                    .and_then(|()| fs::set_permissions(&room.path, Permissions::from_mode(0o710)))
                    .map_err(RoomError::io("open to builds", &room.path))?;
            }
        }
        Ok(room)
    }

    /// Keeps a room's build directory, for people to look at. Gives its place.
    pub(super) fn keep(&self, room: &Room, name: &str) -> Result<PathBuf, RoomError> {
        let kept = self.root.join("kept");
        fs::create_dir_all(&kept).map_err(RoomError::io("make the directory", &kept))?;
        let from = room.build_dir();
        let opened = Permissions::from_mode(0o755);
        fs::set_permissions(&from, opened).map_err(RoomError::io("open to all", &from))?;
        let mut number: u64 = 0;
        loop {
            let to = kept.join(format!("{name}-{number}"));
            // Fails for a directory that is not empty.
            match fs::rename(&from, &to) {
                Ok(()) => return Ok(to),
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => number += 1,
                Err(error) => return Err(RoomError::io("rename", &from)(error)),
            }
        }
    }
}

/// The directories of one build. Removed when this is dropped, which takes as
/// long as it takes: not for an asynchronous task to do.
#[derive(Debug)]
pub(super) struct Room {
    path: PathBuf,
    owner: Option<Ids>,
}

impl Room {
    /// The build directory.
    pub(super) fn build_dir(&self) -> PathBuf {
        self.path.join("build")
    }

    /// A directory for the sandbox.
    pub(super) fn scratch(&self) -> PathBuf {
        self.path.join("scratch")
    }

    /// Makes a file in the build directory, where the build has not run yet.
    pub(super) fn write(&self, name: &str, contents: &[u8]) -> Result<(), RoomError> {
        let path = self.build_dir().join(name);
        let write = || {
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o644)
                .open(&path)?;
            file.write_all(contents)?;
            match self.owner {
                Some(Ids { uid, gid }) => fchown(&file, Some(uid), Some(gid)),
                None => Ok(()),
            }
        };
        write().map_err(RoomError::io("write", &path))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.path) {
            let path = self.path.display();
            tracing::warn!(%error, %path, "a build's directory stays until the next start");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_are_removed_with_their_build_and_with_the_next_start() {
        let dir = tempfile::tempdir().expect("a directory");
        let rooms = Rooms::open(dir.path()).expect("rooms");
        assert!(matches!(
            Rooms::open(dir.path()),
            Err(RoomError::Taken { .. })
        ));
        let room = rooms.room(None, true).expect("a room");
        room.write("file", b"text").expect("written");
        assert!(room.write("file", b"again").is_err());
        let path = room.path.clone();
        drop(room);
        assert!(!path.exists());

        let left = rooms.room(None, true).expect("a room");
        let path = left.path.clone();
        std::mem::forget(left);
        drop(rooms);
        Rooms::open(dir.path()).expect("rooms");
        assert!(!path.exists());
    }

    #[test]
    fn build_directories_can_be_kept() {
        let dir = tempfile::tempdir().expect("a directory");
        let rooms = Rooms::open(dir.path()).expect("rooms");
        let keep = || {
            let room = rooms.room(None, true).expect("a room");
            room.write("file", b"text").expect("written");
            rooms.keep(&room, "x").expect("kept")
        };
        let (first, second) = (keep(), keep());
        assert_ne!(first, second);
        assert_eq!(fs::read(first.join("file")).expect("read"), b"text");
    }
}
