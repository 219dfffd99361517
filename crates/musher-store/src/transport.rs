//! A byte stream to whoever holds a store, and what is known of the program at
//! its other end. A unix socket, a session of ssh and a child process look the
//! same from here on. Knows nothing of what is said over it.

mod child;
mod last_words;
mod lines;
mod peer;
mod socket;
mod stderr;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep};

pub use last_words::last_words;
pub use peer::{Exit, Peer, PeerEnd};
pub use socket::{SocketPath, listen_privately, listen_publicly};
pub use stderr::Stderr;

pub(crate) use child::kill_group;
pub(crate) use lines::LineSplitter;
pub(crate) use peer::ExitReporter;

/// The receiving half of a transport.
pub type BoxReader = Box<dyn AsyncRead + Send + Sync + Unpin>;
/// The sending half of a transport.
pub type BoxWriter = Box<dyn AsyncWrite + Send + Sync + Unpin>;

/// An open connection. Dropping `peer` tears it down, whoever still holds the
/// halves; dropping `writer` tells the other end that nothing more will come.
pub struct Transport {
    /// What the other end sends.
    pub reader: BoxReader,
    /// What we send.
    pub writer: BoxWriter,
    /// The program at the other end.
    pub peer: Peer,
}

/// Why no transport could be had.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// Nothing listens on the socket, or we may not connect to it.
    #[error("cannot connect to socket `{path}`", path = path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A program on this host could not be started.
    #[error("cannot start `{program}`")]
    Start {
        /// The program, as it was named.
        program: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A program on this host lacks a file or directory to start with.
    #[error("cannot {attempt} `{path}`", path = path.display())]
    File {
        /// What was to be done with it.
        attempt: &'static str,
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// There is no program to start.
    #[error("the command to start is empty")]
    NoProgram,
}

impl TransportError {
    /// Advice the user can act on, if there is any.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Socket { source, .. } => {
                let kind = source.kind();
                let advice = if kind == ErrorKind::PermissionDenied {
                    "the daemon's `allowed-users` or the socket's mode keeps you out"
                } else if matches!(kind, ErrorKind::NotFound | ErrorKind::ConnectionRefused) {
                    "start the daemon, or name its socket as `unix:///PATH`"
                } else {
                    return None;
                };
                Some(advice.into())
            }
            Self::Start { program, source } => (source.kind() == ErrorKind::NotFound)
                .then(|| format!("install `{program}`, or name it by its full path")),
            Self::File { .. } | Self::NoProgram => None,
        }
    }
}

/// How long room is waited for in the queue before a socket: a nix-daemon's has
/// five places, and it forks for each connection.
const QUEUE_PATIENCE: Duration = Duration::from_secs(10);
/// How long until room is looked for again: the kernel tells nobody.
const QUEUE_PAUSE: Duration = Duration::from_millis(5);

impl Transport {
    /// Connects to a daemon's socket. Must be called within a tokio runtime.
    pub async fn unix(path: &Path) -> Result<Self, TransportError> {
        let failed = |source| TransportError::Socket {
            path: path.to_owned(),
            source,
        };
        let short = SocketPath::new(path).map_err(failed)?;
        let deadline = Instant::now() + QUEUE_PATIENCE;
        let stream = loop {
            match UnixStream::connect(short.as_path()).await {
                // So many wait to be let in that there is no room to wait in.
                Err(error)
                    if error.kind() == ErrorKind::WouldBlock && Instant::now() < deadline =>
                {
                    sleep(QUEUE_PAUSE).await;
                }
                connected => break connected.map_err(failed)?,
            }
        };
        Ok(Self::stream(stream, path.display().to_string()))
    }

    /// An open socket, whose other end errors will call `name`.
    pub fn stream(stream: UnixStream, name: String) -> Self {
        let (reader, writer) = stream.into_split();
        Self {
            reader: Box::new(reader),
            writer: Box::new(writer),
            peer: Peer::unknown(name),
        }
    }

    /// Starts a program on this host and speaks to it over its standard input
    /// and output. It is ended when the peer is dropped: its input closes, and
    /// what has not gone shortly after is killed.
    ///
    /// Must be called within a tokio runtime.
    pub fn command(command: &[String]) -> Result<Self, TransportError> {
        child::start(command)
    }
}

#[cfg(test)]
mod tests;
