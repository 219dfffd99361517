//! Who holds a lock: for those who wait for one, or wait no longer.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock, major, minor};
use rustix::io::Errno;
use tokio::time::{Instant, sleep};

/// How often it is tried to take a lock.
const LOOK: Duration = Duration::from_millis(20);

/// A process that holds a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockHolder {
    /// Its number.
    pub pid: u32,
    /// What its program is called, where that can be seen.
    pub name: Option<String>,
}

impl fmt::Display for LockHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.pid)?;
        match &self.name {
            Some(name) => write!(f, " (`{name}`)"),
            None => Ok(()),
        }
    }
}

impl LockHolder {
    /// Who holds the exclusive `flock` of `file`, if the kernel tells: it does
    /// not of processes that this one cannot see.
    pub fn of(file: &File) -> Option<Self> {
        let found = file.metadata().ok()?;
        let locks = fs::read_to_string("/proc/locks").ok()?;
        let pid = pid_of(&locks, found.dev(), found.ino())?;
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok();
        let name = name.map(|name| name.trim_end().to_owned());
        Some(Self { pid, name })
    }
}

/// Who holds the lock of inode `ino` on device `dev`, by what `/proc/locks`
/// says: `1: FLOCK  ADVISORY  WRITE 4711 08:01:131072 0 EOF`. Some file systems
/// have another device there than their files say; then the inode must do, if
/// only one has its number.
fn pid_of(locks: &str, dev: u64, ino: u64) -> Option<u32> {
    let ours = format!("{:02x}:{:02x}:{ino}", major(dev), minor(dev));
    let any = format!(":{ino}");
    let mut alike = Vec::new();
    for line in locks.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        // Whoever waits has an arrow for the second word.
        let [_, "FLOCK", _, "WRITE", pid, file, ..] = words[..] else {
            continue;
        };
        match pid.parse() {
            Ok(pid) if file == ours => return Some(pid),
            Ok(pid) if file.ends_with(&any) => alike.push(pid),
            Ok(_) | Err(_) => {}
        }
    }
    match alike[..] {
        [pid] => Some(pid),
        _ => None,
    }
}

/// A lock that could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else holds it.
    #[error("{} holds it", holder_text(.holder.as_ref()))]
    Held {
        /// Who, if that is known.
        holder: Option<LockHolder>,
    },
    /// The system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn holder_text(holder: Option<&LockHolder>) -> String {
    holder.map_or_else(|| "another process".to_owned(), ToString::to_string)
}

/// Takes the exclusive `flock` of `file`, and waits for it no longer than
/// `bound`.
pub async fn lock_within(file: &File, bound: Duration) -> Result<(), LockError> {
    let end = Instant::now() + bound;
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) if Instant::now() < end => sleep(LOOK).await,
            Err(Errno::WOULDBLOCK) => {
                let holder = LockHolder::of(file);
                return Err(LockError::Held { holder });
            }
            Err(errno) => return Err(LockError::Io(errno.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::Duration;

    use super::{LockError, LockHolder, lock_within, pid_of};

    #[tokio::test]
    async fn a_lock_that_is_not_given_back_names_who_has_it() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let open = || File::open(file.path()).expect("opened");
        let (ours, theirs) = (open(), open());
        lock_within(&theirs, Duration::ZERO).await.expect("free");
        let held = lock_within(&ours, Duration::from_millis(1)).await;
        let Err(LockError::Held { holder }) = held else {
            panic!("it is held: {held:?}");
        };
        let holder = holder.expect("the kernel tells");
        assert_eq!(holder.pid, std::process::id());
        assert_eq!(LockHolder::of(&ours), Some(holder));
        drop(theirs);
        lock_within(&ours, Duration::ZERO)
            .await
            .expect("free again");
    }

    #[test]
    fn only_those_who_hold_a_lock_count() {
        let locks = "\
            1: FLOCK  ADVISORY  WRITE 10 08:01:7 0 EOF\n\
            1: -> FLOCK  ADVISORY  WRITE 11 08:01:7 0 EOF\n\
            2: POSIX  ADVISORY  WRITE 12 08:01:8 0 EOF\n\
            3: FLOCK  ADVISORY  READ 13 08:01:8 0 EOF\n\
            4: FLOCK  ADVISORY  WRITE 14 00:2c:9 0 EOF\n\
            5: FLOCK  ADVISORY  WRITE 15 08:01:17 0 EOF\n\
            6: FLOCK  ADVISORY  WRITE 16 00:2c:5 0 EOF\n\
            7: FLOCK  ADVISORY  WRITE 17 00:2d:5 0 EOF\n";
        let dev = rustix::fs::makedev(8, 1);
        assert_eq!(pid_of(locks, dev, 7), Some(10));
        assert_eq!(pid_of(locks, dev, 8), None);
        assert_eq!(pid_of(locks, dev, 9), Some(14));
        assert_eq!(pid_of(locks, dev, 5), None);
    }
}
