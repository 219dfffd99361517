//! Why the coordinator did not do what it was asked.

use std::io;
use std::path::PathBuf;

use musher_api::convert::ConvertError;

/// Why a build or a NAR could not be had from the coordinator. Its absence is
/// no error once it was there: that is waited for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CoordinatorError {
    /// It never answered.
    #[error("the coordinator at `{}` does not answer", .socket.display())]
    NeverReached {
        /// Its socket.
        socket: PathBuf,
        /// What the system said last.
        #[source]
        source: io::Error,
    },
    /// None listened, and none could be started.
    #[error("no coordinator could be started: {reason}")]
    NotStarted {
        /// Why, for people.
        reason: String,
    },
    /// Its socket is not for us.
    #[error("the coordinator at `{}` may not be asked", .socket.display())]
    Denied {
        /// Its socket.
        socket: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It will not do it.
    #[error("the coordinator refused: {message}")]
    Refused {
        /// Its words.
        message: String,
    },
    /// It said what makes no sense.
    #[error("the coordinator is of another mind about its messages")]
    Message(#[source] ConvertError),
    /// It has no words at all for an event.
    #[error("the coordinator sent an event that this version does not know")]
    UnknownEvent,
    /// Its NAR is longer than the path's info says.
    #[error("the NAR of `{path}` goes on behind its {size} bytes")]
    NarTooLong {
        /// The path, absolute.
        path: String,
        /// Bytes that it should have.
        size: u64,
    },
    /// The NAR cannot be read from where it was built.
    #[error("cannot read `{path}` from `{machine}`: {message}")]
    NarLost {
        /// The path, absolute.
        path: String,
        /// The machine's name.
        machine: String,
        /// The coordinator's words.
        message: String,
    },
}

impl CoordinatorError {
    /// Advice the user can act on, if there is any.
    pub(crate) fn help(&self) -> Option<String> {
        match self {
            Self::NeverReached { .. } => Some("start `musher daemon`".to_owned()),
            Self::Denied { .. } => Some(
                "let Nix run `musher serve` as root or as the user of `musher daemon`".to_owned(),
            ),
            Self::Message(_) | Self::UnknownEvent => {
                Some("restart `musher daemon` after an upgrade of `musher`".to_owned())
            }
            Self::NotStarted { .. }
            | Self::Refused { .. }
            | Self::NarTooLong { .. }
            | Self::NarLost { .. } => None,
        }
    }
}
