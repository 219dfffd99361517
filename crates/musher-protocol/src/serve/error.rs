//! What ends a session, and what a session does not let its owner do.

use super::{Command, Version};
use crate::types::Text;
use crate::wire::DecodeError;

/// Why a session is over. Nothing more comes from the peer after it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// What answered is something else.
    #[error(
        "the peer does not speak the serve protocol: it said `{}`",
        // It may hold what a terminal would obey.
        greeting.to_string().escape_debug()
    )]
    NotServe {
        /// The first line of what it said.
        greeting: Text,
    },
    /// It speaks another version than we do.
    #[error(
        "the peer speaks serve protocol {}.{}, not 2.{} or newer",
        number >> 8,
        number & 0xff,
        Version::MIN.minor()
    )]
    Version {
        /// The number that it sent: major · 256 + minor.
        number: u64,
    },
    /// It closed the connection during the handshake.
    #[error("the peer closed the connection before the serve protocol began")]
    NoHandshake,
    /// It closed the connection instead of answering. The serve protocol has
    /// no other way of reporting an error.
    #[error("the peer closed the connection before it answered `{command}`")]
    NoAnswer {
        /// The oldest request without an answer.
        command: Command,
    },
    /// Its answer cannot be read.
    #[error("cannot read the answer to `{command}`")]
    Answer {
        /// The request that was answered.
        command: Command,
        /// What is wrong with the answer.
        source: DecodeError,
    },
    /// It said something without being asked.
    #[error("the peer sent data that answers no request, at offset {offset}")]
    Unasked {
        /// Where it begins, in bytes of the stream.
        offset: u64,
    },
    /// Its request cannot be read.
    #[error("cannot read a request")]
    Request {
        /// What is wrong with the request.
        source: DecodeError,
    },
    /// What follows its request cannot be read.
    #[error("cannot read the data of `{command}`")]
    Body {
        /// The request.
        command: Command,
        /// What is wrong with its data.
        source: DecodeError,
    },
}

impl SessionError {
    /// Advice the user can act on, if there is any.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::NotServe { .. } => Some(
                "see that the login shell there prints nothing of its own, and that \
                 `nix-store --serve --write` is what it runs"
                    .to_owned(),
            ),
            Self::Version { number } if *number < Version::MIN.number() => {
                Some("install Nix 2.3 or newer there".to_owned())
            }
            Self::NoHandshake | Self::NoAnswer { .. } => {
                Some("its standard error output says why".to_owned())
            }
            Self::Version { .. }
            | Self::Answer { .. }
            | Self::Unasked { .. }
            | Self::Request { .. }
            | Self::Body { .. } => None,
        }
    }
}

/// Why a session did not do what its owner told it. Nothing was written, and
/// the session is as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The session is over.
    #[error("the session is over")]
    Over,
    /// The handshake is not over.
    #[error("cannot send a request before the session is ready")]
    NotReady,
    /// The data of the last request is not complete.
    #[error("cannot send a request before the data of `{command}` has ended")]
    BodyOpen {
        /// The last request.
        command: Command,
    },
    /// The last request has no data, or it is complete.
    #[error("cannot send data that belongs to no request")]
    NoBody,
    /// Such data is not what the last request has at this place.
    #[error("cannot send this in the data of `{command}`: expected {expected}")]
    BodyItem {
        /// The last request.
        command: Command,
        /// What may be sent.
        expected: &'static str,
    },
    /// More or less of a NAR than was announced.
    #[error("cannot send a NAR of {sent} bytes: {announced} bytes were announced")]
    NarSize {
        /// The size in the path's info.
        announced: u64,
        /// The bytes sent, with those that were refused.
        sent: u64,
    },
    /// The bytes are no NAR, or go on behind its end.
    #[error("cannot send what is no NAR")]
    Nar {
        /// What is wrong with it.
        source: crate::nar::NarError,
    },
    /// The NAR is not whole.
    #[error("cannot end a NAR after {sent} bytes, in its middle")]
    NarIncomplete {
        /// Its bytes so far.
        sent: u64,
    },
    /// No NAR was promised, or it is complete.
    #[error("cannot send a NAR that nobody waits for")]
    NoNar,
    /// No request waits for this.
    #[error("cannot answer `{given}`: {}", awaited_text(*awaited))]
    NotAsked {
        /// The request that the answer is for.
        given: Command,
        /// The request that waits for an answer.
        awaited: Option<Command>,
    },
}

fn awaited_text(awaited: Option<Command>) -> String {
    match awaited {
        Some(command) => format!("`{command}` is to be answered"),
        None => "nothing is to be answered".to_owned(),
    }
}
