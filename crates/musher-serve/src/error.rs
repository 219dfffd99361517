//! What ends a session before its client does, and how errors are told to
//! clients.

use std::error::Error;
use std::io;

use musher_protocol::worker::{CommandError, RemoteError};
use musher_protocol::{serve, worker};
use musher_store::StoreError;

use crate::coordinator::CoordinatorError;
use crate::wire::{Gone, WireError};

/// Why a session ended before its client did.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The client hung up; no reason to say anything.
    #[error("the client hung up")]
    HungUp,
    /// The client's stream broke.
    #[error("the connection to the client broke")]
    Client(#[source] io::Error),
    /// The home store cannot be had.
    #[error("cannot connect to the home store")]
    Home(#[source] StoreError),
    /// The client does not speak the worker protocol.
    #[error("the client does not keep to the worker protocol")]
    Worker(#[source] worker::SessionError),
    /// The client does not speak the serve protocol.
    #[error("the client does not keep to the serve protocol")]
    Serve(#[source] serve::SessionError),
    /// A NAR could not be sent to its end, and there is no other way to say so.
    #[error("cannot send the rest of `{path}`: {reason}")]
    NarCut {
        /// The path, absolute.
        path: String,
        /// Why.
        reason: String,
    },
    /// The end of an imported NAR could not be waited for.
    #[error("cannot keep an imported NAR in a temporary file")]
    Spool(#[source] io::Error),
    /// The two halves of a session of the serve protocol could not be joined.
    #[error("cannot make a pair of sockets")]
    Pair(#[source] io::Error),
    /// A request of the serve protocol failed, and there is no other way to
    /// say so.
    #[error("{0}")]
    Failed(String),
}

impl ServeError {
    /// Advice the user can act on, if there is any.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Home(error) => error.help(),
            Self::Worker(error) => error.help(),
            Self::Serve(error) => error.help(),
            Self::Spool(_) => Some("see that there is room where `TMPDIR` points".to_owned()),
            Self::HungUp
            | Self::Client(_)
            | Self::NarCut { .. }
            | Self::Pair(_)
            | Self::Failed(_) => None,
        }
    }
}

impl From<Gone> for ServeError {
    fn from(gone: Gone) -> Self {
        match gone {
            Gone::HungUp => Self::HungUp,
            Gone::Broken(source) => Self::Client(source),
        }
    }
}

impl From<WireError<worker::SessionError>> for ServeError {
    fn from(error: WireError<worker::SessionError>) -> Self {
        match error {
            WireError::Session(error) => Self::Worker(error),
            WireError::Gone(gone) => gone.into(),
        }
    }
}

impl From<WireError<serve::SessionError>> for ServeError {
    fn from(error: WireError<serve::SessionError>) -> Self {
        match error {
            WireError::Session(error) => Self::Serve(error),
            WireError::Gone(gone) => gone.into(),
        }
    }
}

/// `error` and all its causes in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// An error for the client, with its causes and with advice.
fn told(error: &dyn Error, help: Option<String>) -> RemoteError {
    let text = chain(error);
    RemoteError::new(match help {
        Some(help) => format!("{text}; {help}"),
        None => text,
    })
}

/// What the home store did wrong, for the client.
pub(crate) fn home_error(error: StoreError) -> RemoteError {
    if let StoreError::Remote(error) = error {
        error
    } else {
        told(&error, error.help())
    }
}

/// What the coordinator did wrong, for the client.
pub(crate) fn coordinator_error(error: &CoordinatorError) -> RemoteError {
    told(error, error.help())
}

/// What is wrong with a NAR that was to be sent.
pub(crate) fn nar_error(error: &CommandError) -> RemoteError {
    told(error, None)
}
