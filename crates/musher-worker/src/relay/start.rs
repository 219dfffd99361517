//! Starts a worker that outlives whoever starts it.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{FlockOperation, flock};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::{READY, Relay};
use crate::places::WorkerPlaces;
use crate::process::WorkerError;

/// How much of a log's end is looked at for its last words.
const TAIL: usize = 4096;

/// Waits for the right to start a worker; it ends with what is returned.
pub(super) async fn lock(places: &WorkerPlaces) -> Result<File, WorkerError> {
    let path = places.start_lock();
    let lock = File::create(&path).map_err(WorkerError::file("create", &path))?;
    let held = spawn_blocking(move || {
        flock(&lock, FlockOperation::LockExclusive)?;
        std::io::Result::Ok(lock)
    });
    let held = held.await.map_err(std::io::Error::other).flatten();
    held.map_err(WorkerError::file("lock", &path))
}

/// Starts a worker and waits until it listens.
pub(super) async fn start(relay: &Relay) -> Result<(), WorkerError> {
    let places = &relay.places;
    let log_path = places.own_log();
    let log = open_log(&places.state, &log_path)?;
    let (ready, theirs) = std::io::pipe().map_err(WorkerError::Start)?;
    // Whatever has become of its file: we run, so it can run.
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("musher")
        .args(["worker", "--foreground", "--detach", "--announce"])
        .args(&relay.options);
    for (option, path) in places.options() {
        command.arg(option).arg(path);
    }
    let child = command
        .current_dir("/")
        .env_remove("SSH_ORIGINAL_COMMAND")
        .stdin(Stdio::null())
        .stdout(theirs)
        .stderr(log)
        .spawn();
    // It is nobody's child once we end, and never waited for.
    drop(child.map_err(WorkerError::Start)?);
    // Our own copy of the other end goes with it.
    drop(command);

    let ready = pipe::Receiver::from_owned_fd(ready.into()).map_err(WorkerError::Start)?;
    let mut said = String::new();
    let mut limited = ready.take(64);
    match timeout(READY, limited.read_to_string(&mut said)).await {
        Ok(Ok(_)) if said == "ready\n" => Ok(()),
        Ok(_) => Err(WorkerError::Ended {
            said: last_words(&log_path),
            log: log_path,
        }),
        Err(_) => Err(WorkerError::NotReady {
            after: READY,
            log: log_path,
        }),
    }
}

fn open_log(dir: &Path, path: &Path) -> Result<File, WorkerError> {
    (fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir))
    .map_err(WorkerError::file("make the directory", dir))?;
    // What an earlier worker said may be what somebody looks for; the one
    // before that is no longer of interest.
    let old = path.with_extension("log.old");
    let _ = fs::rename(path, old);
    (OpenOptions::new().create(true).append(true).mode(0o600))
        .open(path)
        .map_err(WorkerError::file("open", path))
}

fn last_words(log: &Path) -> Option<String> {
    let bytes = fs::read(log).ok()?;
    let tail = &bytes[bytes.len().saturating_sub(TAIL)..];
    words_at_end(&String::from_utf8_lossy(tail))
}

/// The error that a log ends with, with its causes and advice in one line, or
/// its last line.
fn words_at_end(log: &str) -> Option<String> {
    let mut words = Vec::new();
    for line in log.lines().rev().map(str::trim) {
        if line.is_empty() {
            continue;
        }
        words.push(line.strip_prefix("error: ").unwrap_or(line));
        let more = ["cause: ", "help: "];
        if !more.iter().any(|word| line.starts_with(word)) {
            break;
        }
    }
    words.reverse();
    (!words.is_empty()).then(|| words.join("; "))
}

#[cfg(test)]
mod tests {
    use super::words_at_end;

    #[test]
    fn a_worker_that_cannot_start_says_all_it_knows() {
        let said = |log| words_at_end(log).unwrap_or_default();
        assert_eq!(
            said("x\nerror: no store\ncause: Permission denied\nhelp:  be root\n\n"),
            "no store; cause: Permission denied; help:  be root"
        );
        assert_eq!(said("one\nthread panicked\n"), "thread panicked");
        assert_eq!(words_at_end("\n"), None);
    }
}
