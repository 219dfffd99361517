//! Starts a worker that outlives whoever starts it.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use musher_store::transport::last_words;
use musher_store::{LockError, lock_within};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::time::timeout;

use super::{READY, Relay};
use crate::places::WorkerPlaces;
use crate::process::WorkerError;

/// How long somebody else may take to start one.
const TURN: Duration = Duration::from_secs(45);

/// Waits for the right to start a worker; it ends with what is returned.
pub(super) async fn lock(places: &WorkerPlaces) -> Result<File, WorkerError> {
    let path = places.start_lock();
    let lock = File::create(&path).map_err(WorkerError::file("create", &path))?;
    let locked = lock_within(&lock, TURN).await;
    locked.map_err(|error| {
        let error = match error {
            LockError::Io(error) => error,
            held @ LockError::Held { .. } => std::io::Error::other(held),
        };
        WorkerError::file("lock", &path)(error)
    })?;
    Ok(lock)
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
