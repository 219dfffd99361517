//! One ssh connection of ours: sessions are opened on it until it ends. Knows
//! nothing of other connections to the same host.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout_at};

use super::process::{self, End, ProcessFiles, State};
use super::session::{self, Channel, Refusal, Ticket};
use super::transcript::Transcript;
use super::{
    ConnectFault, ControlDir, ControlDirError, SshError, SshOptions, SshOutput, SshTarget,
};
use super::{ciphers, command_line};

/// An open ssh connection. The drop of its last owner closes it.
#[derive(Debug)]
pub struct Master {
    target: String,
    socket: PathBuf,
    /// For connecting, and for the start of each session.
    timeout: Duration,
    /// When it must be connected.
    deadline: Instant,
    /// Dropped to make ssh end.
    stop: Mutex<Option<oneshot::Sender<()>>>,
    state: watch::Receiver<State>,
    transcript: Arc<Mutex<Transcript>>,
    sessions: AtomicUsize,
    /// The socket lies in it.
    _dir: Arc<ControlDir>,
    /// Whether the host refused a session and none has ended since.
    full: AtomicBool,
}

impl Master {
    /// Connects to `target`.
    ///
    /// # Errors
    ///
    /// Within `options.connect_timeout`, whatever the host or the network does.
    pub async fn open(target: &SshTarget, options: &SshOptions) -> Result<Arc<Self>, SshError> {
        let master = Self::start(target, options).await?;
        master.ready().await?;
        Ok(master)
    }

    /// Starts ssh, which then connects.
    pub(super) async fn start(
        target: &SshTarget,
        options: &SshOptions,
    ) -> Result<Arc<Self>, SshError> {
        let name = target.authority.to_string();
        let deadline = Instant::now() + options.connect_bound();
        let files = prepare_files(target, &options.control_dir)?;
        let plain = command_line::master(target, options, &files, None);
        let ciphers = ciphers::faster(&plain).await;
        let arguments = command_line::master(target, options, &files, ciphers.as_deref());
        let started = process::start(&arguments, options.interactive);
        let process = started.map_err(|source| SshError::Connect {
            target: name.clone(),
            source,
        })?;
        let transcript = Arc::clone(&process.transcript);
        let (stop, stopped) = oneshot::channel();
        let (report, state) = watch::channel(State::Starting);
        let socket = files.socket.clone();
        tokio::spawn(process.see_to(files, stopped, report));
        Ok(Arc::new(Self {
            target: name,
            socket,
            timeout: options.connect_timeout,
            deadline,
            stop: Mutex::new(Some(stop)),
            state,
            transcript,
            sessions: AtomicUsize::new(0),
            _dir: Arc::clone(&options.control_dir),
            full: AtomicBool::new(false),
        }))
    }

    /// Waits until sessions can be opened.
    pub(super) async fn ready(&self) -> Result<(), SshError> {
        let ready = timeout_at(self.deadline, self.started()).await;
        let out_of_time = |_| Err(self.transcript().timed_out(self.timeout));
        ready
            .unwrap_or_else(out_of_time)
            .map_err(|source| SshError::Connect {
                target: self.target.clone(),
                source,
            })
    }

    async fn started(&self) -> Result<(), ConnectFault> {
        let mut state = self.state.clone();
        let reached = state
            .wait_for(|state| !matches!(state, State::Starting))
            .await
            .map(|state| *state);
        match reached {
            Ok(State::Ready) => Ok(()),
            Ok(State::Ended(End {
                connected: false,
                status,
            })) => Err(self.transcript().fault(status, self.timeout)),
            Ok(State::Starting | State::Ended(_)) | Err(_) => Err(ConnectFault::NoControl {
                said: self.output(),
            }),
        }
    }

    /// Starts a command, one word an element, on the other host.
    ///
    /// # Errors
    ///
    /// [`SshError::TooManySessions`] where the host takes no further session on
    /// this connection; [`SshError::Lost`] where the connection is gone.
    pub async fn channel(self: &Arc<Self>, command: &[String]) -> Result<Channel, SshError> {
        let line = shell_words::join(command);
        let ticket = Ticket::new(Arc::clone(self));
        let opening = session::open(&self.socket, line.clone(), ticket);
        let refusal = match tokio::time::timeout(self.timeout, opening).await {
            Ok(Ok(channel)) => return Ok(channel),
            Ok(Err(refusal)) => refusal,
            Err(_) => {
                return Err(SshError::SessionTimeout {
                    target: self.target.clone(),
                    command: line,
                    after: self.timeout,
                });
            }
        };
        let target = self.target.clone();
        Err(match refusal {
            Refusal::Full => {
                self.full.store(true, Ordering::Relaxed);
                SshError::TooManySessions { target }
            }
            Refusal::Gone(error) => {
                tracing::debug!(%error, "an ssh master's control socket is gone");
                self.lost()
            }
            Refusal::Other(source) => SshError::Session {
                target,
                command: line,
                source,
            },
        })
    }

    /// Whether the connection is there, as far as ssh knows.
    pub fn is_open(&self) -> bool {
        !self.state.borrow().ended()
    }

    /// Whether a further session may be tried.
    pub(super) fn has_room(&self) -> bool {
        self.is_open() && !self.full.load(Ordering::Relaxed)
    }

    /// Whether no session is left whose end would make room again.
    pub(super) fn is_stuck(&self) -> bool {
        self.sessions() == 0 && self.full.load(Ordering::Relaxed)
    }

    /// How many sessions are open.
    pub fn sessions(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }

    pub(super) fn session_begins(&self) {
        self.sessions.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn session_ends(&self) {
        self.sessions.fetch_sub(1, Ordering::Relaxed);
        self.full.store(false, Ordering::Relaxed);
    }

    /// Waits until the connection is gone, and says what ssh said about it.
    pub async fn ended(&self) -> SshError {
        // An error means that nobody sees to ssh any more, so it ends too.
        let _ = self.state.clone().wait_for(State::ended).await;
        self.lost()
    }

    /// Ends the connection and every session on it, and waits until no process
    /// and no socket of it is left.
    pub async fn close(&self) {
        drop(
            self.stop
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        // As above.
        let _ = self.state.clone().wait_for(State::ended).await;
    }

    /// Waits for the end without keeping the connection open, and returns what
    /// ssh said last.
    pub(super) fn gone(&self) -> impl Future<Output = SshOutput> + Send + use<> {
        let mut state = self.state.clone();
        let transcript = Arc::clone(&self.transcript);
        async move {
            // As above.
            let _ = state.wait_for(State::ended).await;
            let transcript = transcript.lock().unwrap_or_else(PoisonError::into_inner);
            transcript.output()
        }
    }

    /// What ssh has said.
    pub(super) fn output(&self) -> SshOutput {
        self.transcript().output()
    }

    fn lost(&self) -> SshError {
        SshError::Lost {
            target: self.target.clone(),
            source: self.output(),
        }
    }

    fn transcript(&self) -> MutexGuard<'_, Transcript> {
        self.transcript
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names for the files of a master, of which ssh makes the socket itself.
fn prepare_files(target: &SshTarget, dir: &ControlDir) -> Result<ProcessFiles, SshError> {
    let (socket, path) = dir.next_files();
    let known_hosts = match &target.host_key {
        None => None,
        Some(key) => {
            let text = key.known_hosts(target.authority.host.as_str());
            std::fs::write(&path, text).map_err(|source| SshError::ControlDir {
                source: ControlDirError::Io {
                    path: path.clone(),
                    source,
                },
            })?;
            Some(path)
        }
    };
    Ok(ProcessFiles {
        socket,
        known_hosts,
    })
}
