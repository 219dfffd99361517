//! The directory of control sockets. Each process has one of its own below it,
//! with a random name and a lock that the kernel drops when the process ends,
//! however it ends. So a socket of a dead process can never be taken for ours,
//! and which masters are left over is known without looking at a process name.

use std::fs::{DirBuilder, DirEntry, File, Permissions, TryLockError};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::mux::{Mux, MuxError};
use crate::{LockError, lock_within};

/// How many random characters a process's own directory is named by.
const NAME_LENGTH: usize = 8;
/// What a socket's name begins with; a number follows.
const SOCKET: &str = "s";

/// A socket's path fits into 107 bytes, and ssh first binds `PATH.` followed by
/// 16 random characters.
const LONGEST_SOCKET: usize = 107 - 17;

/// How long a leftover master may take to answer that it ends.
const LEFTOVER_ANSWERS: Duration = Duration::from_secs(2);

/// How long another process may be at work in the directory.
const TURN: Duration = Duration::from_secs(60);

/// This process's own directory of control sockets. Removed when dropped.
#[derive(Debug)]
pub struct ControlDir {
    own: tempfile::TempDir,
    /// Held as long as the process lives.
    _lock: File,
    next: AtomicU32,
}

/// Why a directory cannot hold control sockets.
#[derive(Debug, thiserror::Error)]
pub enum ControlDirError {
    /// The directory cannot be made, read or locked.
    #[error("cannot use directory `{path}`", path = path.display())]
    Io {
        /// The directory or the file in it.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Others may write to it.
    #[error("directory `{path}` belongs to or can be written by others", path = path.display())]
    Shared {
        /// The directory.
        path: PathBuf,
    },
    /// The path leaves no room for a socket's name.
    #[error(
        "the path `{path}` is {length} bytes long, and a socket in it would have more than \
         {LONGEST_SOCKET}",
        path = path.display()
    )]
    TooLong {
        /// The directory.
        path: PathBuf,
        /// Its length in bytes.
        length: usize,
    },
    /// The path has characters that ssh would expand.
    #[error("ssh cannot take the path `{path}`", path = path.display())]
    Name {
        /// The directory.
        path: PathBuf,
    },
}

impl ControlDirError {
    /// Advice the user can act on, if there is any.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Io { .. } => None,
            Self::Shared { path } => Some(format!(
                "run `chmod 700 {}` as its owner, or choose another with `--run`",
                path.display()
            )),
            Self::TooLong { .. } => Some("choose a shorter directory with `--run`".into()),
            Self::Name { .. } => Some(
                "choose a directory with `--run` whose absolute path has no `$`, `\"`, `\\` \
                 or line break"
                    .into(),
            ),
        }
    }
}

impl ControlDir {
    /// Makes `dir` where it is missing, ends the masters that killed processes
    /// left there, and makes this process's own directory in it.
    pub async fn open(dir: &Path) -> Result<Self, ControlDirError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| ControlDirError::Io { path, source }
        };
        check_name(dir)?;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(failed(dir))?;
        let meta = dir.metadata().map_err(failed(dir))?;
        let ours = meta.uid() == rustix::process::geteuid().as_raw();
        if !ours || meta.permissions().mode() & 0o022 != 0 {
            return Err(ControlDirError::Shared { path: dir.into() });
        }
        // Held while directories come and go, so that none is cleaned away
        // between its making and its locking.
        let turn = take_turn(dir).await.map_err(failed(dir))?;
        let found = dir.read_dir().map_err(failed(dir))?;
        clean(found).await.map_err(failed(dir))?;
        let own = Self::make(dir).map_err(failed(dir));
        drop(turn);
        own
    }

    fn make(dir: &Path) -> io::Result<Self> {
        let own = tempfile::Builder::new()
            .prefix("")
            .rand_bytes(NAME_LENGTH)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(dir)?;
        let lock = File::open(own.path())?;
        lock.lock()?;
        Ok(Self {
            own,
            _lock: lock,
            next: AtomicU32::new(0),
        })
    }

    /// Where the sockets are.
    pub fn path(&self) -> &Path {
        self.own.path()
    }

    /// The next unused names: a socket, and a known_hosts file beside it.
    pub(super) fn next_files(&self) -> (PathBuf, PathBuf) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let file = |prefix: &str| self.path().join(format!("{prefix}{number}"));
        (file(SOCKET), file("k"))
    }
}

fn check_name(dir: &Path) -> Result<(), ControlDirError> {
    let path = || dir.to_owned();
    let told_apart = |c: char| c.is_control() || matches!(c, '$' | '"' | '\\');
    match dir.to_str() {
        Some(text) if dir.is_absolute() && !text.contains(told_apart) => {}
        Some(_) | None => return Err(ControlDirError::Name { path: path() }),
    }
    let length = dir.as_os_str().as_bytes().len();
    let number = 10;
    if length + 1 + NAME_LENGTH + 1 + SOCKET.len() + number > LONGEST_SOCKET {
        return Err(ControlDirError::TooLong {
            path: path(),
            length,
        });
    }
    Ok(())
}

/// Waits until no other process is at work in `dir`; over when dropped.
async fn take_turn(dir: &Path) -> io::Result<File> {
    let turn = File::open(dir)?;
    match lock_within(&turn, TURN).await {
        Ok(()) => Ok(turn),
        Err(LockError::Io(error)) => Err(error),
        Err(held) => Err(io::Error::other(held)),
    }
}

/// Ends what dead processes left in the directories `found`, and removes these.
async fn clean(found: impl Iterator<Item = io::Result<DirEntry>>) -> io::Result<()> {
    for entry in found {
        let entry = entry?;
        match clean_own(&entry).await {
            // Whose it was has just tidied up.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            cleaned => cleaned?,
        }
    }
    Ok(())
}

/// The same with the directory of one process.
async fn clean_own(entry: &DirEntry) -> io::Result<()> {
    if !entry.file_type()?.is_dir() {
        return Ok(());
    }
    let own = entry.path();
    let lock = File::open(&own)?;
    match lock.try_lock() {
        Ok(()) => {
            end_masters(&own).await?;
            std::fs::remove_dir_all(&own)
        }
        Err(TryLockError::WouldBlock) => Ok(()),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Asks each master with a socket in `own` to end.
async fn end_masters(own: &Path) -> io::Result<()> {
    for entry in own.read_dir()? {
        let entry = entry?;
        if !entry.file_name().as_bytes().starts_with(SOCKET.as_bytes()) {
            continue;
        }
        let ended = async { Mux::connect(&entry.path()).await?.terminate().await };
        match tokio::time::timeout(LEFTOVER_ANSWERS, ended).await {
            Ok(Ok(())) => tracing::info!("ended a leftover ssh master"),
            // The master has gone, and only its socket was left.
            Ok(Err(MuxError::Socket(_))) => {}
            Ok(Err(error)) => tracing::warn!(%error, "cannot end a leftover ssh master"),
            Err(_) => tracing::warn!("a leftover ssh master does not answer"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[tokio::test]
    async fn whoever_tidies_up_at_the_same_time_is_in_nobodys_way() {
        let dir = tempfile::tempdir().expect("a directory");
        let (gone, left) = (dir.path().join("gone"), dir.path().join("left"));
        for own in [&gone, &left] {
            std::fs::create_dir(own).expect("made");
        }
        let found: Vec<_> = dir.path().read_dir().expect("read").collect();
        std::fs::remove_dir(&gone).expect("removed");
        clean(found.into_iter()).await.expect("cleaned");
        assert!(!left.exists());
    }
}
