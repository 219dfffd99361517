//! One program on the other host, started on a master: the descriptors of its
//! pipes are handed to the master's process, so that bytes go from it to us
//! directly. Knows the multiplexing protocol's words for it, and no more.

use std::borrow::Cow;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use openssh_mux_client::{Connection, Error, EstablishedSession, NonZeroByteSlice, Session};
use openssh_mux_client::{NonZeroByteVec, SessionStatus};
use tokio::net::unix::pipe;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::Master;
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
    Gone,
    /// Anything else.
    Other(Box<dyn std::error::Error + Send + Sync>),
}

/// Asks for the process id of the master behind `socket`.
pub(super) async fn ping(socket: &Path) -> Result<(), Error> {
    let mut connection = Connection::connect(socket).await?;
    connection.send_alive_check().await?;
    Ok(())
}

/// Starts `command`, a line for the other host's shell.
pub(super) async fn open(
    socket: &Path,
    command: String,
    ticket: Ticket,
) -> Result<Channel, Refusal> {
    let pipes = Pipes::new().map_err(|error| Refusal::Other(Box::new(error)))?;
    let line = NonZeroByteVec::new(command.clone().into_bytes())
        .ok_or_else(|| Refusal::Other("the command contains a zero byte".into()))?;
    let connection = Connection::connect(socket).await.map_err(refusal)?;
    let request = Session::builder()
        .cmd(Cow::Owned(line))
        .term(Cow::Borrowed(no_terminal()))
        .build();
    let theirs = pipes.theirs.each_ref().map(AsRawFd::as_raw_fd);
    let session = connection
        .open_new_session(&request, &theirs)
        .await
        .map_err(refusal)?;
    drop(pipes.theirs);

    let stderr = Stderr::read(pipes.stderr);
    let (report, exit) = watch::channel(None);
    let waiting = tokio::spawn(wait(session, report)).abort_handle();
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

async fn wait(session: EstablishedSession, report: ExitReporter) {
    let exit = match session.wait().await {
        Ok(SessionStatus::Exited {
            exit_value: Some(value),
        }) => i32::try_from(value).map_or(Exit::Lost, Exit::Status),
        Ok(SessionStatus::Exited { exit_value: None } | SessionStatus::TtyAllocFail(_))
        | Err(_) => Exit::Lost,
    };
    report.send_replace(Some(exit));
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

fn no_terminal() -> &'static NonZeroByteSlice {
    const NONE: Option<&NonZeroByteSlice> = NonZeroByteSlice::new(b"");
    const { NONE.expect("an empty text has no zero byte") }
}

fn refusal(error: Error) -> Refusal {
    match error {
        // What ssh says when the server refuses to open a channel. sshd does so
        // beyond `MaxSessions`, and gives no other reason.
        Error::RequestFailure(reason) if reason.contains("refused") => Refusal::Full,
        // The socket is gone, or went away while we spoke.
        Error::IOError(_) => Refusal::Gone,
        other => Refusal::Other(Box::new(other)),
    }
}
