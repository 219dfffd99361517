//! `nix.sock`: stock clients that have the home store as theirs, each handed to
//! a session in a process of its own, with the client's rights. Speaks nothing
//! of theirs.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use musher_api::coordinator::coordinator_server::CoordinatorServer;
use musher_store::transport::{listen_privately, listen_publicly};
use rustix::process::geteuid;
use tokio::net::{UnixListener, UnixStream};
use tokio::process::Command;
use tokio::task::JoinSet;
use tonic::transport::Server;
use tracing::{debug, warn};

use super::clients::Clients;
use super::{DaemonError, DaemonPlaces, MESSAGE};
use crate::rpc::{PeerService, Service};

/// How long to wait where no more clients can be taken.
const PAUSE: Duration = Duration::from_millis(200);

/// The entrance, open until this is dropped.
pub(super) struct StoreEntrance {
    sockets: Vec<PathBuf>,
    _tasks: JoinSet<()>,
}

impl StoreEntrance {
    /// Opens it in the directory `run`. Where this is root's, all users of this
    /// host may come; their sessions ask `service`, which knows what is for
    /// users.
    pub(super) fn open(
        run: &Path,
        sessions: Sessions,
        service: Arc<Service>,
    ) -> Result<Self, DaemonError> {
        let is_public = geteuid().is_root();
        let mut tasks = JoinSet::new();
        let store = DaemonPlaces::store_socket(run);
        tasks.spawn(sessions.hand_over(listen(&store, is_public)?));
        let mut sockets = vec![store];
        if is_public {
            let users = DaemonPlaces::users_socket(run);
            let listener = listen(&users, is_public)?;
            tasks.spawn(async move {
                let service = CoordinatorServer::new(PeerService(service));
                let served = Server::builder()
                    .add_service(service.max_decoding_message_size(MESSAGE))
                    .serve_with_incoming(Clients::none().of(listener));
                if let Err(error) = served.await {
                    let error = crate::error_text(&error);
                    warn!(error, "users can no longer ask for anything");
                }
            });
            sockets.push(users);
        }
        Ok(Self {
            sockets,
            _tasks: tasks,
        })
    }
}

impl Drop for StoreEntrance {
    fn drop(&mut self) {
        for socket in &self.sockets {
            // The next daemon takes its place in any case.
            let _ = fs::remove_file(socket);
        }
    }
}

fn listen(path: &Path, is_public: bool) -> Result<UnixListener, DaemonError> {
    let listening = match is_public {
        true => listen_publicly(path),
        false => listen_privately(path),
    };
    let listening = listening.and_then(UnixListener::from_std);
    listening.map_err(|source| DaemonError::File {
        what: "listen on",
        path: path.to_owned(),
        source,
    })
}

/// What sessions are started with.
pub(super) struct Sessions {
    program: PathBuf,
    options: Vec<OsString>,
    /// Whether every user can connect to the home store.
    for_users: bool,
}

impl Sessions {
    /// Sessions of `program` for the daemon at `places`.
    pub(super) fn new(program: &Path, places: &DaemonPlaces, for_users: bool) -> Self {
        // Another user's usual places are others; and a file that is named has to
        // be there.
        let config = places.config.path();
        let config = match config.exists() {
            true => config,
            false => Path::new("/dev/null"),
        };
        let places = [
            ("--config", config),
            ("--run", &places.run),
            ("--state", &places.state),
        ];
        let options = |(option, path): (&str, &Path)| [option.into(), path.as_os_str().to_owned()];
        Self {
            program: program.to_owned(),
            options: places.into_iter().flat_map(options).collect(),
            for_users,
        }
    }

    /// Hands each client to a session. Never ends.
    pub(super) async fn hand_over(self, listener: UnixListener) {
        loop {
            let started = match listener.accept().await {
                Ok((client, _)) => self.start(client),
                Err(error) => Err(error),
            };
            if let Err(error) = started {
                warn!(%error, "a client of the store entrance cannot be served");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    fn start(&self, client: UnixStream) -> io::Result<()> {
        let peer = client.peer_cred()?;
        let (uid, gid) = (peer.uid(), peer.gid());
        let is_other = uid != 0 && uid != geteuid().as_raw();
        let mut command = Command::new(&self.program);
        command.args(["serve", "--store", "--socket"]);
        command.args(&self.options);
        match is_other {
            // Whoever cannot be left to their own rights is held to what a
            // stranger may do.
            true if !self.for_users => {
                command.arg("--untrusted");
            }
            true => {
                command.gid(gid).uid(uid);
            }
            false => {}
        }
        // What was meant for us, or leads back here.
        for name in ["NIX_REMOTE", "SSH_ORIGINAL_COMMAND", "SSH_CONNECTION"] {
            command.env_remove(name);
        }
        let client = OwnedFd::from(client.into_std()?);
        let mut session = command
            .current_dir("/")
            .stdin(client)
            .stdout(Stdio::null())
            .spawn()?;
        debug!(
            uid,
            pid = session.id(),
            "a client has come to the store entrance"
        );
        tokio::spawn(async move {
            match session.wait().await {
                Ok(status) => debug!(uid, %status, "a session of the store entrance has ended"),
                Err(error) => warn!(%error, "a session cannot be waited for"),
            }
        });
        Ok(())
    }
}
