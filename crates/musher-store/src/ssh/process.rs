//! The ssh process of a master, from its start to its end. It dies with us, even
//! where we are killed: a small shell holds the other end of a pipe of ours, and
//! ends ssh when that closes. Knows nothing of sessions.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::ConnectFault;
use super::command_line::READY;
use super::mux::Mux;
use super::transcript::Transcript;
use crate::transport::{LineSplitter, kill_group};

/// Starts ssh with the arguments, and ends it and all that it started (a
/// `ProxyCommand`, the ssh of a jump host) when standard input closes. The group
/// is the shell's own, so no other process is ever meant.
const GUARD: &str = r#"ssh "$@" </dev/null & exec >/dev/null 2>&1
read -r closed
trap '' TERM
kill 0
wait "$!""#;

/// The same where ssh may ask somebody at the terminal: it then has to be in the
/// terminal's own process group, which is ours too, so that only ssh is meant.
/// Ctrl-C is ours to act on.
const ASKING_GUARD: &str = r#"trap '' INT
ssh "$@" </dev/null & exec >/dev/null 2>&1
read -r closed
kill "$!"
wait "$!""#;

/// How long ssh may take to end once it was told to.
const GRACE: Duration = Duration::from_secs(2);
/// How long to wait for ssh's last words once it has ended. A program of the
/// user's (`ProxyCommand`) may hold on to the pipe.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How far the process is.
#[derive(Debug, Clone, Copy)]
pub(super) enum State {
    /// ssh is connecting.
    Starting,
    /// Its control socket listens.
    Ready,
    /// It has ended.
    Ended(End),
}

/// How ssh ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    /// Its status, unless a signal ended it.
    pub(super) status: Option<i32>,
    /// Whether it had logged in.
    pub(super) connected: bool,
}

impl State {
    pub(super) fn ended(&self) -> bool {
        matches!(self, Self::Ended(_))
    }
}

/// ssh and its guard.
pub(super) struct Process {
    child: Child,
    /// The guard ends ssh when this closes, be it with this whole process.
    stdin: ChildStdin,
    stdout: ChildStdout,
    /// Reads what ssh says.
    words: JoinHandle<()>,
    /// What it has said.
    pub(super) transcript: Arc<Mutex<Transcript>>,
    /// Whether it leads a process group of its own.
    leads_group: bool,
}

/// The files of one ssh process; removed when it has ended.
#[derive(Debug, Clone)]
pub(super) struct ProcessFiles {
    /// Its control socket.
    pub(super) socket: PathBuf,
    /// The known_hosts file with the configured key, where there is one.
    pub(super) known_hosts: Option<PathBuf>,
}

/// Starts ssh with these arguments. If it is not `interactive`, it asks nobody
/// anything.
pub(super) fn start(arguments: &[OsString], interactive: bool) -> Result<Process, ConnectFault> {
    let transcript = Arc::new(Mutex::new(Transcript::default()));
    let failed = |error: io::Error| {
        let mut transcript = Transcript::default();
        transcript.line(&format!("sh: {error}"));
        ConnectFault::NoSsh {
            said: transcript.output(),
        }
    };
    let mut command = Command::new("sh");
    let guard = if interactive { ASKING_GUARD } else { GUARD };
    command
        .args(["-c", guard, "ssh-guard"])
        .args(arguments)
        // As Nix does: the user's own shell may be one that runs no commands.
        .env("SHELL", "/bin/sh")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if !interactive {
        command
            // Neither ssh nor the ssh of a jump host asks anyone anything.
            .env_remove("DISPLAY")
            .env("SSH_ASKPASS", "false")
            .env("SSH_ASKPASS_REQUIRE", "force")
            // Ctrl-C is for us, who then end ssh in good order.
            .process_group(0);
    }
    let mut child = command.spawn().map_err(failed)?;
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
        return Err(failed(io::Error::other("its pipes are missing")));
    };
    let words = tokio::spawn(listen(stderr, Arc::clone(&transcript)));
    Ok(Process {
        child,
        stdin,
        stdout,
        words,
        transcript,
        leads_group: !interactive,
    })
}

/// Notes what ssh says.
async fn listen(mut stderr: impl AsyncRead + Unpin, transcript: Arc<Mutex<Transcript>>) {
    let note = |line: Vec<u8>| {
        let mut transcript = transcript.lock().unwrap_or_else(PoisonError::into_inner);
        transcript.line(&String::from_utf8_lossy(&line));
    };
    let mut splitter = LineSplitter::default();
    let mut buffer = vec![0; 4 * 1024];
    // A read error ends the messages as their end does.
    while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
        splitter.push(&buffer[..count]).into_iter().for_each(note);
    }
    splitter.rest().into_iter().for_each(note);
}

impl Process {
    /// Waits for ssh's end, or brings it about when `stopped` says so; then
    /// removes its files and reports.
    pub(super) async fn see_to(
        mut self,
        files: ProcessFiles,
        mut stopped: oneshot::Receiver<()>,
        report: watch::Sender<State>,
    ) {
        let life = follow(self.stdout, &files.socket, &report);
        tokio::pin!(life);
        let mut connected = tokio::select! {
            connected = &mut life => Some(connected),
            _ = &mut stopped => None,
        };
        drop(self.stdin);
        if connected.is_none() {
            connected = timeout(GRACE, life).await.ok();
        }
        let status = match timeout(GRACE, self.child.wait()).await {
            Ok(status) => status,
            Err(_) => {
                match self.leads_group {
                    true => kill_group(&self.child),
                    // It may have gone meanwhile, which is as good.
                    false => drop(self.child.start_kill()),
                }
                self.child.wait().await
            }
        };
        // Out of time: some words may be missing, which only costs exactness.
        let _ = timeout(LAST_WORDS, &mut self.words).await;
        self.words.abort();
        remove(&files.socket);
        files.known_hosts.iter().for_each(|file| remove(file));
        report.send_replace(State::Ended(End {
            status: status.ok().as_ref().and_then(ExitStatus::code),
            connected: connected.unwrap_or(false),
        }));
    }
}

/// Follows ssh until it ends, and tells whether it had logged in. Its control
/// socket is where its end shows at once: ssh leaves its standard output early,
/// and the standard error may be held by what it started.
async fn follow(stdout: ChildStdout, socket: &Path, report: &watch::Sender<State>) -> bool {
    let mut lines = BufReader::new(stdout).lines();
    let mut connected = false;
    while let (false, Ok(Some(line))) = (connected, lines.next_line().await) {
        connected = line == READY;
    }
    if connected && let Ok(mux) = Mux::connect(socket).await {
        report.send_replace(State::Ready);
        mux.gone().await;
    }
    connected
}

/// Removes a file that ssh itself may have removed already.
fn remove(file: &Path) {
    match std::fs::remove_file(file) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(file = %file.display(), %error, "cannot remove"),
    }
}
