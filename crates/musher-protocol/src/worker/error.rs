//! What ends a session, and what a session refuses to do.

use super::remote_error::RemoteError;
use super::request::Unsupported;
use super::version::Version;
use crate::types::Text;
use crate::wire::DecodeError;

/// Why a session cannot go on. The connection is of no more use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The peer's first bytes are not those of the protocol.
    #[error("the peer does not speak the Nix worker protocol: it begins with `{found}`")]
    NotNix {
        /// What came, or the beginning of it.
        found: Text,
    },
    /// The peer speaks another major version, or one that is too old.
    #[error(
        "the peer speaks version {peer} of the Nix worker protocol, and {least} is the oldest that will do",
        least = Version::MIN
    )]
    Version {
        /// The peer's version.
        peer: Version,
    },
    /// The server has greeted, and wants nothing to do with us.
    #[error("the server refuses the connection")]
    Rejected {
        /// What it says.
        #[source]
        error: RemoteError,
    },
    /// The stream ended between two things.
    #[error("the peer closed the connection {during}")]
    Ended {
        /// When it did.
        during: &'static str,
    },
    /// The stream ended in the middle of something.
    #[error("the peer closed the connection in the middle of its {what}")]
    Truncated {
        /// What was being read.
        what: &'static str,
    },
    /// The peer's bytes mean nothing.
    #[error("cannot understand the peer's {what}")]
    Decode {
        /// What was being read.
        what: &'static str,
        /// Where and why.
        #[source]
        source: DecodeError,
    },
    /// The peer spoke without being asked.
    #[error("the peer sent data at offset {offset} that nothing had asked for")]
    Unasked {
        /// Offset in its stream, in bytes.
        offset: u64,
    },
    /// The server asked for content of a request that has none to give.
    #[error("the server asks for content at offset {offset}, and there is none to send")]
    UnexpectedRead {
        /// Offset in its stream, in bytes.
        offset: u64,
    },
}

impl SessionError {
    /// A faulty field, or the end of the stream in the middle of one.
    pub(super) fn decode(what: &'static str, source: DecodeError) -> Self {
        if source.is_end() {
            Self::Truncated { what }
        } else {
            Self::Decode { what, source }
        }
    }

    /// Whether the peer closed the connection, rather than saying something
    /// wrong.
    pub fn is_end(&self) -> bool {
        matches!(self, Self::Ended { .. } | Self::Truncated { .. })
    }

    /// Advice for the user.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::NotNix { .. } => Some(
                "whatever prints that (a banner, a shell's start-up file) must stay silent, \
                 and the program that is run must be `nix-daemon --stdio`"
                    .to_owned(),
            ),
            Self::Version { .. } => Some("a newer Nix on the other side would do".to_owned()),
            Self::Rejected { .. }
            | Self::Ended { .. }
            | Self::Truncated { .. }
            | Self::Decode { .. }
            | Self::Unasked { .. }
            | Self::UnexpectedRead { .. } => None,
        }
    }
}

/// Why a command was not carried out. Nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The peer's version has no words for it.
    #[error("cannot send a request")]
    Unsupported(#[source] Unsupported),
    /// The session is over.
    #[error("the session is over")]
    Over,
    /// There is no upload under way.
    #[error("no request waits for a body")]
    NoBody,
    /// The body has another piece here.
    #[error("the body of a request goes on with {expected}, not with {found}")]
    Body {
        /// What has to come.
        expected: String,
        /// What was given.
        found: String,
    },
    /// No request is being served.
    #[error("no request waits for {what}")]
    NoRequest {
        /// What was to be sent.
        what: &'static str,
    },
    /// What was given as a NAR is none.
    #[error("cannot send the NAR")]
    Nar(#[source] crate::nar::NarError),
}
