//! A host with a store of its own, on which sessions run.

use std::io::Write as _;
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Duration;

use musher_protocol::worker::{ClientConfig, Message, RemoteError, Request, Response, Trust};
use musher_serve::{Entrance, Input, Output, Protocol, ServeError, SessionConfig, run};
use musher_store::local::{LocalOptions, LocalStore};
use musher_store::transport::Transport;
use musher_store::{Connector, Way, WorkerConnection, WorkerStore, own_store};
use nix_derivation::StoreDir;
use tempfile::TempDir;
use tokio::net::UnixListener;

use crate::coordinator::{FakeCoordinator, bounded, runtime};

/// The thread of a session.
type Session = JoinHandle<Result<(), ServeError>>;

/// A host for one test.
pub(crate) struct Host {
    dir: TempDir,
    /// Whether its store is Musher's own, and there is no Nix.
    own: bool,
}

impl Host {
    /// A new host; none where there is no nix-daemon, which only CI minds.
    pub(crate) fn new() -> Option<Self> {
        let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
            .any(|dir| dir.join("nix-daemon").exists());
        if !found {
            let in_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
            assert!(!in_ci, "CI needs a nix-daemon");
            // Not `eprintln!`, which a passing test keeps to itself.
            let _ = writeln!(std::io::stderr(), "skipped: there is no nix-daemon");
            return None;
        }
        let dir = tempfile::tempdir().expect("a directory");
        Some(Self { dir, own: false })
    }

    /// A new host without Nix.
    pub(crate) fn own() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        Self { dir, own: true }
    }

    /// One of either kind, as far as they can be had.
    pub(crate) fn each() -> impl Iterator<Item = Self> {
        Self::new().into_iter().chain([Self::own()])
    }

    /// Its store as the files that it is.
    pub(crate) fn files(&self) -> LocalStore {
        LocalStore::open(self.options()).expect("a store")
    }

    fn options(&self) -> LocalOptions {
        LocalOptions::below(self.dir.path().join("root"))
    }

    pub(crate) fn control_socket(&self) -> PathBuf {
        self.dir.path().join("control.sock")
    }

    pub(crate) fn coordinator(&self) -> FakeCoordinator {
        FakeCoordinator::start(&self.control_socket())
    }

    /// Its store, whose nix-daemon, if it has one, is started for each
    /// connection.
    pub(crate) fn store(&self) -> WorkerStore {
        let timeout = Duration::from_secs(20);
        if self.own {
            return own_store(self.options(), [].into(), timeout);
        }
        let root = self.dir.path().join("root").display().to_string();
        let words = ["--stdio", "--option", "substituters", "", "--store", &root];
        let command = ["nix-daemon"].into_iter().chain(words);
        let connector = Connector {
            way: Way::Program(command.map(str::to_owned).collect()),
            timeout,
        };
        WorkerStore::new(connector, StoreDir::default(), None)
    }

    /// Starts a session for a client on another host and connects to it.
    pub(crate) async fn session(&self, trust: Option<Trust>) -> Client {
        let started = self.start(trust, Protocol::Worker, true).await;
        Self::shake_hands(started).await
    }

    /// Starts a session for a client on this host whose store it is, with the
    /// rights of the test, and connects to it.
    pub(crate) async fn store_session(&self, trust: Option<Trust>) -> Client {
        let to = SessionFor {
            trust,
            entrance: Entrance::Store,
            remote: false,
        };
        Self::shake_hands(self.start_for(to, Protocol::Worker).await).await
    }

    /// Starts a session for a client on this host, with the rights of the test,
    /// and connects to it.
    pub(crate) async fn local_session(&self) -> Client {
        let started = self.start(None, Protocol::Worker, false).await;
        Self::shake_hands(started).await
    }

    async fn shake_hands((transport, thread): (Transport, Session)) -> Client {
        let config = ClientConfig::new(StoreDir::default());
        let connection = WorkerConnection::open(transport, config);
        Client {
            connection: bounded(connection).await.expect("a session"),
            heard: Vec::new(),
            thread,
        }
    }

    /// Starts a session in a thread of its own, as the process that it would
    /// be, and connects to its standard input and output.
    pub(crate) async fn start(
        &self,
        trust: Option<Trust>,
        protocol: Protocol,
        remote: bool,
    ) -> (Transport, Session) {
        let to = SessionFor {
            trust,
            entrance: Entrance::Hook,
            remote,
        };
        self.start_for(to, protocol).await
    }

    async fn start_for(&self, to: SessionFor, protocol: Protocol) -> (Transport, Session) {
        let socket = self.dir.path().join("session.sock");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let transport = Transport::unix(&socket).await.expect("a connection");
        let (stream, _) = listener.accept().await.expect("a connection");
        std::fs::remove_file(&socket).expect("a socket");
        let stream = stream.into_std().expect("a socket");
        let config = SessionConfig {
            control_socket: self.control_socket(),
            start_coordinator: None,
            home: self.store(),
            own_home: self.own,
            trust: to.trust,
            entrance: to.entrance,
            remote: to.remote,
        };
        let thread = std::thread::spawn(move || {
            runtime().block_on(async {
                let fd = std::os::fd::OwnedFd::from(stream);
                let input = Input::new(fd.try_clone().expect("a descriptor")).expect("an input");
                let output = Output::new(fd).expect("an output");
                run(config, protocol, input, output).await
            })
        });
        (transport, thread)
    }
}

/// Whom a session is for.
struct SessionFor {
    trust: Option<Trust>,
    entrance: Entrance,
    remote: bool,
}

/// A client in a session.
pub(crate) struct Client {
    pub(crate) connection: WorkerConnection,
    /// What was said beside the answers.
    pub(crate) heard: Vec<Message>,
    thread: JoinHandle<Result<(), ServeError>>,
}

impl Client {
    /// Asks and waits for the answer.
    pub(crate) async fn ask(&mut self, request: Request) -> Result<Response, RemoteError> {
        self.connection
            .request(request)
            .expect("a request that can be made");
        self.answer().await
    }

    /// The answer to the oldest question.
    pub(crate) async fn answer(&mut self) -> Result<Response, RemoteError> {
        let heard = &mut self.heard;
        let mut hear = |message| heard.push(message);
        bounded(self.connection.outcome(&mut hear))
            .await
            .expect("a session that goes on")
    }

    /// Hangs up, and returns how the session ended.
    pub(crate) fn leave(self) -> Result<(), ServeError> {
        drop(self.connection);
        self.thread.join().expect("no panic")
    }
}
