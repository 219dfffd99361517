//! One program on the other host, started on a master: the descriptors of its
//! pipes are handed to the master's process, so that bytes go from it to us
//! directly.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use tokio::net::unix::pipe;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::Master;
use super::mux::{Mux, MuxError, Opened};
use crate::transport::{Exit, ExitReporter, Peer, Stderr, Transport};

/// A started command. Dropping `peer` ends the session.
pub struct Channel {
    /// The command's standard output.
    pub reader: pipe::Receiver,
    /// The command's standard input.
    pub writer: pipe::Sender,
    /// The command itself. It keeps the master open.
    pub peer: Peer,
}

impl From<Channel> for Transport {
    fn from(channel: Channel) -> Self {
        Self {
            reader: Box::new(channel.reader),
            writer: Box::new(channel.writer),
            peer: channel.peer,
        }
    }
}

/// Why a session was not opened.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The host takes no further session on this connection.
    Full,
    /// The master has gone.
    Gone(io::Error),
    /// Anything else.
    Other(Box<dyn std::error::Error + Send + Sync>),
}

/// Starts `command`, a line for the other host's shell.
pub(super) async fn open(
    socket: &Path,
    command: String,
    ticket: Ticket,
) -> Result<Channel, Refusal> {
    let pipes = Pipes::new().map_err(|error| Refusal::Other(Box::new(error)))?;
    let mux = Mux::connect(socket).await.map_err(refusal)?;
    let theirs = pipes.theirs.each_ref().map(AsFd::as_fd);
    let opened = mux.open(&command, theirs).await.map_err(refusal)?;
    drop(pipes.theirs);

    let stderr = Stderr::read(pipes.stderr);
    let (report, exit) = watch::channel(None);
    let waiting = tokio::spawn(wait(opened, report)).abort_handle();
    let keep = Keep {
        waiting,
        _ticket: ticket,
    };
    Ok(Channel {
        reader: pipes.stdout,
        writer: pipes.stdin,
        peer: Peer::new(command, stderr, exit, keep),
    })
}

/// A session counted on its master, which it keeps open.
pub(super) struct Ticket(Arc<Master>);

impl Ticket {
    pub(super) fn new(master: Arc<Master>) -> Self {
        master.session_begins();
        Self(master)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.session_ends();
    }
}

/// Lives as long as the session.
struct Keep {
    waiting: AbortHandle,
    _ticket: Ticket,
}

impl Drop for Keep {
    fn drop(&mut self) {
        // With its task goes the connection to the master, which then ends the
        // session.
        self.waiting.abort();
    }
}

/// Sees the session to its end.
async fn wait(opened: Opened, report: ExitReporter) {
    opened
        .wait(|status| {
            let exit = i32::try_from(status).map_or(Exit::Lost, Exit::Status);
            report.send_replace(Some(exit));
        })
        .await;
    report.send_if_modified(|exit| {
        let unknown = exit.is_none();
        exit.get_or_insert(Exit::Lost);
        unknown
    });
}

/// The three pipes of a command: our ends, and those for the master.
struct Pipes {
    stdin: pipe::Sender,
    stdout: pipe::Receiver,
    stderr: pipe::Receiver,
    theirs: [OwnedFd; 3],
}

impl Pipes {
    fn new() -> io::Result<Self> {
        let (stdin_theirs, stdin) = io::pipe()?;
        let (stdout, stdout_theirs) = io::pipe()?;
        let (stderr, stderr_theirs) = io::pipe()?;
        Ok(Self {
            stdin: pipe::Sender::from_owned_fd(stdin.into())?,
            stdout: pipe::Receiver::from_owned_fd(stdout.into())?,
            stderr: pipe::Receiver::from_owned_fd(stderr.into())?,
            theirs: [
                stdin_theirs.into(),
                stdout_theirs.into(),
                stderr_theirs.into(),
            ],
        })
    }
}

fn refusal(error: MuxError) -> Refusal {
    match error {
        // What ssh says when the server refuses to open a channel. sshd does so
        // beyond `MaxSessions`, and gives no other reason.
        MuxError::Refused { reason } if reason.contains("refused") => Refusal::Full,
        // The socket is gone, or went away while we spoke.
        MuxError::Socket(error) => Refusal::Gone(error),
        error @ (MuxError::Refused { .. } | MuxError::Version { .. } | MuxError::Packet { .. }) => {
            Refusal::Other(Box::new(error))
        }
    }
}
