//! A coordinator for whoever needs one now: the one that listens, or else one
//! that is started, and ends by itself after its last client left.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use musher_store::{LockError, lock_within, open_files};
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::time::timeout;

use super::{Coordinator, CoordinatorError};
use crate::failure::Failure;
use crate::places::{Named, Places};

/// How long a coordinator waits for another client after its last one left.
const LINGER: Duration = Duration::from_secs(30);

/// How long it may take to start.
const START: Duration = Duration::from_secs(30);

/// How long somebody else may take to start one.
const TURN: Duration = Duration::from_secs(45);

/// The longest log that is added to; one that is longer is begun anew, and kept
/// until that happens again.
const LOG: u64 = 1 << 20;

/// What it writes once it listens.
pub(crate) const READY: &str = "ready\n";

/// Bytes of its log that are shown when it does not start.
const LAST_WORDS: usize = 4096;

/// Why no coordinator could be started.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("cannot {what} `{}`", .path.display())]
    File {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("a coordinator is being started for longer than that may take: `{}` is locked", .path.display())]
    Turn { path: PathBuf, source: LockError },
    #[error("cannot start a coordinator")]
    Spawn { source: io::Error },
    #[error("the coordinator that was started did not listen within {} s", START.as_secs())]
    Slow,
    #[error("the coordinator that was started ended again: {said}")]
    Ended { said: String },
}

impl Coordinator {
    /// Connects to the coordinator of `places`. Where none listens one is
    /// started, if its directory of sockets is the user's own or is not there.
    pub(crate) async fn connect_or_start(places: &Places) -> Result<Self, Failure> {
        match Self::find(places).await {
            Err(error) if error.is_not_running() && is_ours(&places.run) => {}
            found => return Ok(found?),
        }
        let _turn = turn(&places.run).await?;
        // Someone else may have started one while we waited.
        match Self::find(places).await {
            Err(error) if error.is_not_running() => {}
            found => return Ok(found?),
        }
        let started = start(places).await;
        match Self::connect(&places.run).await {
            Ok(coordinator) => Ok(coordinator),
            // Why it did not start says more than that nobody listens.
            Err(CoordinatorError::NotRunning { .. }) if started.is_err() => Err(started
                .err()
                .unwrap_or_else(|| unreachable!("bug: it is an error"))),
            Err(error) => Err(error.into()),
        }
    }

    /// Connects to the one that listens, if it has the configuration and the
    /// state that the command line names.
    async fn find(places: &Places) -> Result<Self, CoordinatorError> {
        let mut coordinator = Self::connect(&places.run).await?;
        let named = places.named();
        if named.is_empty() {
            return Ok(coordinator);
        }
        let status = coordinator.status().await?;
        for (what, wanted) in named {
            let has = match what {
                Named::Config => &status.config,
                Named::State => &status.state,
            };
            // One of an earlier release does not say.
            if !has.is_empty() && !is_same(Path::new(has), wanted) {
                return Err(CoordinatorError::Other {
                    socket: coordinator.socket,
                    what: what.as_str(),
                    has: PathBuf::from(has),
                    wanted: wanted.to_owned(),
                });
            }
        }
        Ok(coordinator)
    }
}

/// Whether two paths lead to the same file, or would.
fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    one == other || real(one) == real(other)
}

/// Whether the directory of sockets is the user's own, or would be.
fn is_ours(run: &Path) -> bool {
    match fs::metadata(run) {
        Ok(metadata) => metadata.uid() == rustix::process::geteuid().as_raw(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Waits until nobody else starts a coordinator there.
async fn turn(run: &Path) -> Result<File, Failure> {
    let failed = |what, path: &Path| {
        let path = path.to_owned();
        move |source| Failure::environment(StartError::File { what, path, source })
    };
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(run);
    made.map_err(failed("make the directory", run))?;
    let path = run.join("start.lock");
    let file = File::create(&path).map_err(failed("create", &path))?;
    match lock_within(&file, TURN).await {
        Ok(()) => Ok(file),
        Err(LockError::Io(error)) => Err(failed("lock", &path)(error)),
        Err(source @ LockError::Held { .. }) => {
            Err(Failure::environment(StartError::Turn { path, source }))
        }
    }
}

/// Starts a coordinator, and waits until it listens.
async fn start(places: &Places) -> Result<(), Failure> {
    let log = places.state.join("daemon.log");
    let failed = |what, path: &Path| {
        let path = path.to_owned();
        move |source| Failure::environment(StartError::File { what, path, source })
    };
    let mut dir = fs::DirBuilder::new();
    let made = dir.recursive(true).mode(0o750).create(&places.state);
    made.map_err(failed("make the directory", &places.state))?;
    if fs::metadata(&log).is_ok_and(|found| found.len() > LOG) {
        // What cannot be moved grows.
        let _ = fs::rename(&log, log.with_extension("log.old"));
    }
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o640)
        .open(&log)
        .map_err(failed("create", &log))?;
    let before = fs::metadata(&log).map_or(0, |found| found.len());
    let spawned = std::env::current_exe().and_then(|program| {
        Command::new(program)
            .args(&places.options)
            .args(["daemon", "--on-demand", "--linger"])
            .arg(LINGER.as_secs().to_string())
            .env(open_files::VARIABLE, open_files::told())
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
    });
    let spawned = spawned.map_err(|source| StartError::Spawn { source });
    let mut child = spawned.map_err(Failure::environment)?;
    let mut ready = String::new();
    if let Some(stdout) = child.stdout.take() {
        let mut stdout = stdout.take(READY.len() as u64);
        let read = stdout.read_to_string(&mut ready);
        if timeout(START, read).await.is_err() {
            return Err(Failure::environment(StartError::Slow).help(see(&log)));
        }
    }
    match ready == READY {
        true => Ok(()),
        false => {
            let said = last_words(&log, before);
            Err(Failure::environment(StartError::Ended { said }).help(see(&log)))
        }
    }
}

fn see(log: &Path) -> String {
    format!("its log is `{}`", log.display())
}

/// What a log ends with, of what it says behind its first `before` bytes.
fn last_words(log: &Path, before: u64) -> String {
    let text = fs::read(log).unwrap_or_default();
    let before = usize::try_from(before).unwrap_or(usize::MAX);
    let text = text.get(before..).unwrap_or_default();
    let from = text.len().saturating_sub(LAST_WORDS);
    let text = String::from_utf8_lossy(&text[from..]);
    let text = text.trim();
    match text.is_empty() {
        true => "it said nothing".to_owned(),
        false => format!("\n{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::last_words;

    #[test]
    fn only_what_a_coordinator_said_itself_is_told_of_its_end() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("daemon.log");
        std::fs::write(&log, "of another\nerror: no\n").expect("written");
        assert_eq!(last_words(&log, 11), "\nerror: no");
        assert_eq!(last_words(&log, 21), "it said nothing");
        assert_eq!(last_words(&log, 99), "it said nothing");
    }
}
