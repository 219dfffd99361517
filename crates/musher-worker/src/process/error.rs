//! Why a worker does not run, or cannot be reached.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use musher_store::local::LocalError;

use crate::executor::RoomError;

/// Why a worker did not start, had to stop, or was not reached.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// A file or directory of ours cannot be used.
    #[error("cannot {what} `{}`", .path.display())]
    File {
        /// What was to be done with it.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Others could enter the directory of the socket.
    #[error("`{}` belongs to somebody else, or lets others in", .dir.display())]
    NotPrivate {
        /// The directory.
        dir: PathBuf,
    },
    /// There is a worker already.
    #[error("another worker holds `{}`", .lock.display())]
    Running {
        /// Its lock.
        lock: PathBuf,
    },
    /// The store cannot be opened.
    #[error("cannot open the worker's store at `{}`", .root.display())]
    Store {
        /// Its root.
        root: PathBuf,
        /// Why not.
        #[source]
        source: Box<LocalError>,
    },
    /// Without a sandbox the store has to be where its paths say.
    #[error(
        "builds without a sandbox need a store at `{}`, and none can be made there",
        .store.display()
    )]
    NoPlace {
        /// Where.
        store: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It has to, and somebody else has one there.
    #[error(
        "builds without a sandbox need the store at `{}`, which belongs to an installed Nix",
        .store.display()
    )]
    ForeignStore {
        /// Where.
        store: PathBuf,
    },
    /// Nothing can be built here.
    #[error("cannot prepare for building")]
    Build(#[source] RoomError),
    /// What builds are to see makes no sense.
    #[error("`{text}` is no path for the sandbox")]
    SandboxPath {
        /// As given.
        text: String,
    },
    /// Whoever started it does not listen.
    #[error("cannot say that the worker is ready")]
    Announce(#[source] io::Error),
    /// Signals cannot be caught.
    #[error("cannot catch signals")]
    Signals(#[source] io::Error),
    /// The server ended.
    #[error("cannot go on listening on the worker's socket")]
    Serve(#[source] tonic::transport::Error),
    /// A worker process could not be started.
    #[error("cannot start a worker")]
    Start(#[source] io::Error),
    /// A worker process was started, and ended.
    // All in one line: whoever connected sees the last one only.
    #[error(
        "the worker that was started ended at once, see its log, `{}`: {}",
        .log.display(),
        .said.as_deref().unwrap_or("it said nothing")
    )]
    Ended {
        /// The last words of its log.
        said: Option<String>,
        /// Its log.
        log: PathBuf,
    },
    /// A worker process was started, and did not listen in time.
    #[error("the worker that was started is not ready after {} s", .after.as_secs())]
    NotReady {
        /// How long it was waited for.
        after: Duration,
        /// Its log.
        log: PathBuf,
    },
    /// The bytes could not be passed on.
    #[error("cannot pass on what the two ends say")]
    Relay(#[source] io::Error),
}

impl WorkerError {
    /// Advice the user can act on, if there is any.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Running { .. } => {
                Some("stop it first, or give this one its own `--state` and `--run`".to_owned())
            }
            Self::NotPrivate { dir } => Some(format!(
                "make it yours alone: `chmod 700 {}`",
                dir.display()
            )),
            Self::NotReady { log, .. } => Some(format!("see its log, `{}`", log.display())),
            Self::Store { source, .. } => source.help(),
            Self::NoPlace { store, .. } => {
                let top = store.parent().unwrap_or(store).display();
                Some(format!(
                    "run the worker as root, or make `{top}` its user's once, as root: `mkdir -p \
                     {top} && chown USER {top}`; or let builds be sandboxed"
                ))
            }
            Self::ForeignStore { .. } => Some(
                "let that Nix build, as a machine with `kind = \"nix\"`; or let builds be sandboxed"
                    .to_owned(),
            ),
            Self::SandboxPath { .. } => Some(
                "write `TARGET`, `TARGET=SOURCE`, or either followed by `?`, with absolute paths"
                    .to_owned(),
            ),
            Self::Ended { .. }
            | Self::File { .. }
            | Self::Build(_)
            | Self::Announce(_)
            | Self::Signals(_)
            | Self::Serve(_)
            | Self::Start(_)
            | Self::Relay(_) => None,
        }
    }

    /// Whether it is a mistake of the user's.
    pub fn is_users(&self) -> bool {
        matches!(
            self,
            Self::Running { .. } | Self::SandboxPath { .. } | Self::ForeignStore { .. }
        )
    }

    pub(crate) fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { what, path, source }
    }
}
