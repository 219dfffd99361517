//! What can go wrong between us and a store.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use musher_protocol::{serve, worker};

use crate::local::LocalError;
use crate::ssh::SshError;
use crate::transport::{PeerEnd, TransportError};

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// ssh did not reach the host.
    #[error("cannot reach the store's host")]
    Ssh(#[source] SshError),
    /// The store's socket or program could not be opened.
    #[error("cannot open the store")]
    Open(#[source] TransportError),
    /// The store on this disk did not do it.
    #[error("the store on this disk failed")]
    Local(#[source] LocalError),
    /// A worker of Musher's did not do it.
    #[error("the worker could not {attempt}: {message}")]
    Worker {
        /// What was asked.
        attempt: &'static str,
        /// What it said.
        message: String,
    },
    /// A worker of Musher's went away, or was never there.
    #[error("the connection to the worker broke: {end}")]
    WorkerGone {
        /// How the program that led to it ended.
        end: Box<PeerEnd>,
    },
    /// Nothing answered in time.
    #[error("`{command}` did not answer within {} s", .after.as_secs())]
    Silent {
        /// The program or socket.
        command: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// The connection broke.
    #[error("the connection to the store broke")]
    Transport {
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What came is not the worker protocol, or it ended too early.
    #[error("the nix-daemon did not keep to the worker protocol, or went away: {end}")]
    WorkerSession {
        /// What is wrong with the bytes.
        #[source]
        source: worker::SessionError,
        /// How the program ended.
        end: Box<PeerEnd>,
    },
    /// What came is not the serve protocol, or it ended too early.
    #[error("the store's program did not keep to the serve protocol, or went away: {end}")]
    ServeSession {
        /// What is wrong with the bytes.
        #[source]
        source: serve::SessionError,
        /// How the program ended.
        end: Box<PeerEnd>,
    },
    /// The store is too old for a request.
    #[error("cannot ask the store for this")]
    WorkerRequest(#[source] worker::CommandError),
    /// The store is too old for a request.
    #[error("cannot ask the store for this")]
    ServeRequest(#[source] serve::CommandError),
    /// The store refused.
    #[error("the store refused: {}", .0.message)]
    Remote(worker::RemoteError),
    /// The store refused without a reason.
    #[error("the store refused {request}: {end}")]
    Refused {
        /// What was asked.
        request: &'static str,
        /// What it wrote to its standard error.
        end: Box<PeerEnd>,
    },
    /// The store answered something else than was asked.
    #[error("expected {expected} from the store, found {found}")]
    Unexpected {
        /// What was asked for.
        expected: &'static str,
        /// What came.
        found: String,
    },
    /// A path that was to be copied is not valid.
    #[error("path `{path}` is not valid in the store it is copied from")]
    Invalid {
        /// The path, absolute.
        path: String,
    },
    /// The NAR of a path is not the one that was described.
    #[error("what came as `{path}` is not what it was said to be: {how}")]
    OtherNar {
        /// The path, absolute.
        path: String,
        /// In what they differ.
        how: String,
    },
    /// A file of the store could not be read.
    #[error("cannot read `{}` as a NAR", .path.display())]
    ReadFile {
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What was done in the store on this host's disk ended early.
    #[error("the work in the store on disk was given up")]
    GivenUp,
    /// The store has no way of doing this.
    #[error("{what} is not possible with this kind of store")]
    Unsupported {
        /// What was asked.
        what: &'static str,
    },
}

impl StoreError {
    /// Whether the store could not be reached, or not until it had answered:
    /// asked again it may do what it was asked.
    pub fn is_of_connection(&self) -> bool {
        match self {
            Self::Ssh(_)
            | Self::Open(_)
            | Self::WorkerGone { .. }
            | Self::Silent { .. }
            | Self::Transport { .. }
            | Self::WorkerSession { .. }
            | Self::ServeSession { .. } => true,
            Self::Local(_)
            | Self::Worker { .. }
            | Self::WorkerRequest(_)
            | Self::ServeRequest(_)
            | Self::Remote(_)
            | Self::Refused { .. }
            | Self::Unexpected { .. }
            | Self::Invalid { .. }
            | Self::OtherNar { .. }
            | Self::ReadFile { .. }
            | Self::GivenUp
            | Self::Unsupported { .. } => false,
        }
    }

    /// Advice the user can act on, if there is any.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Ssh(error) => error.help(),
            Self::Open(error) => error.help(),
            Self::Local(error) => error.help(),
            Self::WorkerSession { end, source } => end.help().or_else(|| source.help()),
            Self::ServeSession { end, source } => end.help().or_else(|| source.help()),
            Self::Refused { end, .. } | Self::WorkerGone { end } => end.help(),
            Self::Silent { .. } => Some(
                "see whether the program there hangs; `connect-timeout` sets how long to wait"
                    .to_owned(),
            ),
            Self::Invalid { .. } => Some("build it, or copy it into that store first".to_owned()),
            Self::Remote(error) if error.message.to_string().contains("lacks a signature") => Some(
                "sign the path with a key that the store trusts, or make the user one of its \
                 `trusted-users`"
                    .to_owned(),
            ),
            Self::Transport { .. }
            | Self::Worker { .. }
            | Self::WorkerRequest(_)
            | Self::ServeRequest(_)
            | Self::Remote(_)
            | Self::Unexpected { .. }
            | Self::OtherNar { .. }
            | Self::ReadFile { .. }
            | Self::GivenUp
            | Self::Unsupported { .. } => None,
        }
    }
}
