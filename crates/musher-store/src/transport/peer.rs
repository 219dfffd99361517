//! What is known of the program at the other end of a transport: what it wrote
//! to its standard error, and how it ended.

use std::fmt;
use std::time::Duration;

use tokio::sync::watch;

use super::Stderr;

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It returned this status.
    Status(i32),
    /// This signal ended it.
    Signal(i32),
    /// The connection to it was lost first, or it ended without saying how.
    Lost,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "ended with status {status}"),
            Self::Signal(signal) => write!(f, "was ended by signal {signal}"),
            Self::Lost => f.write_str("went away without a word"),
        }
    }
}

/// The program at the other end. Its drop ends the connection.
pub struct Peer {
    command: String,
    stderr: Option<Stderr>,
    exit: watch::Receiver<Option<Exit>>,
    _keep: Option<Box<dyn Send + Sync>>,
}

/// The end through which a task tells how the program ended.
pub(crate) type ExitReporter = watch::Sender<Option<Exit>>;

impl Peer {
    /// A program of which nothing can be known.
    pub(crate) fn unknown(command: String) -> Self {
        Self {
            command,
            stderr: None,
            exit: watch::channel(None).1,
            _keep: None,
        }
    }

    /// A program with a standard error and an end; `keep` is dropped with the
    /// peer.
    pub(crate) fn new(
        command: String,
        stderr: Stderr,
        exit: watch::Receiver<Option<Exit>>,
        keep: impl Send + Sync + 'static,
    ) -> Self {
        Self {
            command,
            stderr: Some(stderr),
            exit,
            _keep: Some(Box::new(keep)),
        }
    }

    /// Its standard error, where it has one apart from the transport.
    pub fn stderr(&self) -> Option<&Stderr> {
        self.stderr.as_ref()
    }

    /// Waits for the program's end, for at most `bound`; for use once the
    /// stream has ended or gone wrong, to say why.
    pub async fn ended(&self, bound: Duration) -> PeerEnd {
        let mut exit = self.exit.clone();
        let all = async {
            // An error means that nobody will ever tell.
            let _ = exit.wait_for(Option::is_some).await;
            if let Some(stderr) = &self.stderr {
                stderr.ended().await;
            }
        };
        // Out of time: what is known by now is still worth telling.
        let _ = tokio::time::timeout(bound, all).await;
        PeerEnd {
            command: self.command.clone(),
            exit: *self.exit.borrow(),
            said: self.stderr.as_ref().map(Stderr::tail).unwrap_or_default(),
        }
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("command", &self.command)
            .field("exit", &*self.exit.borrow())
            .finish_non_exhaustive()
    }
}

/// How the program at the other end of a transport ended, as far as known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerEnd {
    /// The command line, or the socket.
    pub command: String,
    /// How it ended; absent where it still runs or nothing is known.
    pub exit: Option<Exit>,
    /// The last lines of its standard error.
    pub said: Vec<String>,
}

impl PeerEnd {
    /// Whether the shell at the other end found no such program.
    pub fn program_missing(&self) -> bool {
        self.exit == Some(Exit::Status(127))
    }

    /// Advice the user can act on, if there is any.
    pub fn help(&self) -> Option<String> {
        let words = shell_words::split(&self.command).unwrap_or_default();
        let program = words.first()?;
        match self.exit? {
            Exit::Status(127) => Some(format!(
                "install `{program}` there, or give its full path as `remote-program=`; \
                 a login without a terminal often has a shorter PATH"
            )),
            Exit::Status(126) => Some(format!("`{program}` may not be executed there")),
            Exit::Status(_) | Exit::Signal(_) | Exit::Lost => None,
        }
    }
}

impl fmt::Display for PeerEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.exit {
            Some(exit) => write!(f, "`{}` {exit}", self.command)?,
            None => write!(f, "`{}` closed the connection", self.command)?,
        }
        if let Some(last) = self.said.iter().rev().find(|line| !line.is_empty()) {
            write!(f, ", its last words: `{last}`")?;
        }
        Ok(())
    }
}

impl std::error::Error for PeerEnd {}
