//! What tells this coordinator from others, kept so that workers know it again
//! after a restart and let go of what it no longer wants.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::system::uname;
use tracing::info;

/// The file in the state directory that holds it.
const FILE: &str = "coordinator-name";

/// The hex digits of what is made up.
const DIGITS: usize = 32;

/// A coordinator's name, which no other has while this lives.
#[derive(Debug)]
pub(super) struct CoordinatorName {
    text: String,
    /// Locked, unless the name is for this time only.
    _file: Option<File>,
}

impl CoordinatorName {
    /// The name kept in the directory `state`, made up at first. Where another
    /// coordinator goes by it already, this one gets a name for once.
    pub(super) fn of(state: &Path) -> io::Result<Self> {
        let mut file = (File::options().read(true).write(true))
            .create(true)
            .truncate(false)
            .open(state.join(FILE))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                info!("another coordinator keeps its state here, too");
                return Ok(Self::new(&made_up(), None));
            }
            Err(errno) => return Err(errno.into()),
        }
        let mut kept = String::new();
        (&mut file).take(DIGITS as u64).read_to_string(&mut kept)?;
        if kept.len() < DIGITS {
            kept = made_up();
            file.set_len(0)?;
            io::Seek::rewind(&mut file)?;
            file.write_all(kept.as_bytes())?;
        }
        Ok(Self::new(&kept, Some(file)))
    }

    /// The name as others are told it.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// A machine that was copied with its state goes by another name, as long
    /// as it is called otherwise.
    fn new(kept: &str, file: Option<File>) -> Self {
        let host = uname();
        Self {
            text: format!("{kept}@{}", host.nodename().to_string_lossy()),
            _file: file,
        }
    }
}

fn made_up() -> String {
    format!("{:0DIGITS$x}", rand::random::<u128>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_and_borne_by_one_at_a_time() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let name = || CoordinatorName::of(dir.path()).expect("a name");
        let first = name();
        let meanwhile = name();
        assert_ne!(first.as_str(), meanwhile.as_str());
        let kept = first.as_str().to_owned();
        drop(first);
        assert_eq!(name().as_str(), kept);
        // What was cut short by a crash is made up again.
        let file = dir.path().join(FILE);
        std::fs::write(&file, "abc").expect("writable");
        let new = name().as_str().to_owned();
        assert!(new != kept && new.len() > DIGITS);
        assert_eq!(name().as_str(), new);
    }
}
