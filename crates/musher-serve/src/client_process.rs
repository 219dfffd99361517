//! The process behind the build hook: the one that realises, whose child asks us
//! for one derivation. Found at `/proc`, which may say nothing of others' processes.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use musher_api::coordinator as api;
use rustix::process::getppid;
use tracing::debug;

use crate::temp_roots::{Part, parse};

/// How Nix calls its build hook.
const HOOKS: [&str; 2] = ["__build-remote", "build-remote"];

/// Open files of a process that are looked at.
const MOST_FILES: usize = 4096;

/// The most of its temporary roots that is read at once, in bytes. At some 80
/// bytes a path that is 800,000 of them.
const MOST_BYTES: u64 = 64 << 20;

/// A process that realises derivations on this host.
#[derive(Debug, Clone)]
pub(crate) struct ClientProcess {
    pid: u32,
    /// In ticks since the host started: with the number it is one process's
    /// alone.
    start_time: u64,
    /// Where the number counts.
    pid_namespace: u64,
    uid: u32,
    /// As the process has it open: so it is its own, and no other's of its
    /// number before it.
    temp_roots: Arc<File>,
}

impl ClientProcess {
    /// The one behind the build hook that started us. None where another did,
    /// or where its temporary roots cannot be read.
    pub(crate) fn behind_build_hook() -> Option<Self> {
        match find(Path::new("/proc")) {
            Ok(found) => found,
            Err(error) => {
                debug!(%error, "whoever is behind the build hook cannot be seen");
                None
            }
        }
    }

    /// As the coordinator knows it.
    pub(crate) fn to_message(&self) -> api::ClientProcess {
        api::ClientProcess {
            pid: self.pid,
            start_time: self.start_time,
            pid_namespace: self.pid_namespace,
            uid: self.uid,
            temp_roots: self.temp_roots.metadata().map_or(0, |file| file.len()),
        }
    }

    /// Reads its temporary roots from `from` on. What comes of it counts from
    /// there; with it, how long they are.
    pub(crate) fn read(&self, from: u64) -> io::Result<(Part, u64)> {
        let length = self.temp_roots.metadata()?.len();
        let upto = length.min(from.saturating_add(MOST_BYTES));
        let count = usize::try_from(upto.saturating_sub(from)).map_err(io::Error::other)?;
        let mut bytes = vec![0; count];
        self.temp_roots.read_exact_at(&mut bytes, from)?;
        Ok((parse(&bytes), length))
    }
}

fn find(proc: &Path) -> io::Result<Option<ClientProcess>> {
    let Some(hook) = getppid() else {
        return Ok(None);
    };
    let hook = proc.join(hook.as_raw_pid().to_string());
    let Some(pid) = realiser(&hook)? else {
        return Ok(None);
    };
    let process = proc.join(pid.to_string());
    let start_time = Stat::of(&process)?.start_time;
    let Some(file) = temp_roots(&process, pid)? else {
        return Ok(None);
    };
    let temp_roots = Arc::new(File::open(file)?);
    // It was there all the time if it is its parent's still.
    if realiser(&hook)? != Some(pid) {
        return Ok(None);
    }
    Ok(Some(ClientProcess {
        pid,
        start_time,
        pid_namespace: fs::metadata(proc.join("self/ns/pid"))?.ino(),
        uid: fs::metadata(&process)?.uid(),
        temp_roots,
    }))
}

/// Whose child `hook` is, if it is a build hook of Nix's.
fn realiser(hook: &Path) -> io::Result<Option<u32>> {
    let command_line = fs::read(hook.join("cmdline"))?;
    let command_line = String::from_utf8_lossy(&command_line);
    let name = |word: &str| word.rsplit('/').next().unwrap_or_default().to_owned();
    let is_hook = (command_line.split('\0')).any(|word| HOOKS.contains(&name(word).as_str()));
    let parent = Stat::of(hook)?.parent;
    Ok((is_hook && parent > 1).then_some(parent))
}

/// The way to the temporary roots that a process has open.
fn temp_roots(process: &Path, pid: u32) -> io::Result<Option<PathBuf>> {
    let end = PathBuf::from(format!("temproots/{pid}"));
    for entry in fs::read_dir(process.join("fd"))?.take(MOST_FILES) {
        let entry = entry?.path();
        // One may be closed meanwhile.
        if fs::read_link(&entry).is_ok_and(|target| target.ends_with(&end)) {
            return Ok(Some(entry));
        }
    }
    Ok(None)
}

/// What the kernel says of a process.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    start_time: u64,
}

impl Stat {
    fn of(process: &Path) -> io::Result<Self> {
        let text = fs::read(process.join("stat"))?;
        let text = String::from_utf8_lossy(&text);
        Self::parse(&text).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// `PID (NAME) STATE PARENT …`: the name may hold anything.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let mut fields = rest.split_whitespace();
        Some(Self {
            parent: fields.nth(1)?.parse().ok()?,
            start_time: fields.nth(17)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;
    use std::os::unix::fs::FileExt as _;
    use std::path::Path;
    use std::process;

    use super::{Stat, find, temp_roots};

    #[test]
    fn a_name_may_look_like_anything() {
        let text = "42 (a) S 1 (b) R 7 42 42 0 -1 4194304 99 0 0 0 1 2 0 0 20 0 1 0 123456 \
                    1000 200 18446744073709551615 0";
        let expected = Stat {
            parent: 7,
            start_time: 123_456,
        };
        assert_eq!(Stat::parse(text), Some(expected));
        assert_eq!(Stat::parse("42 (a) S"), None);
    }

    #[test]
    fn the_kernel_says_what_is_read() {
        let own = Stat::of(Path::new("/proc/self")).expect("readable");
        let parent = rustix::process::getppid().expect("a parent");
        assert_eq!(i64::from(own.parent), i64::from(parent.as_raw_pid()));
        assert!(own.start_time > 0);
    }

    #[test]
    fn a_file_is_its_owners_only_while_it_is_open() {
        let dir = tempfile::tempdir().expect("a directory");
        let pid = process::id();
        let path = dir.path().join("temproots").join(pid.to_string());
        std::fs::create_dir(dir.path().join("temproots")).expect("a directory");
        let mut file = File::create(&path).expect("a file");
        file.write_all(b"/s/a\0").expect("writable");
        let own = Path::new("/proc/self");
        let found = temp_roots(own, pid).expect("readable").expect("a file");
        let found = File::open(found).expect("readable");
        let mut bytes = [0; 5];
        found.read_exact_at(&mut bytes, 0).expect("readable");
        assert_eq!(&bytes, b"/s/a\0");
        assert_eq!(temp_roots(own, pid + 1).expect("readable"), None);
        drop((file, found));
        assert_eq!(temp_roots(own, pid).expect("readable"), None);
    }

    #[test]
    fn whoever_started_this_test_is_no_build_hook() {
        assert!(find(Path::new("/proc")).expect("readable").is_none());
    }
}
