//! What answers on a machine as the test speaks to it: stock Nix by whichever
//! protocol, or a worker of ours.

use std::sync::Arc;

use musher_coordinator::worker::Session;
use musher_protocol::worker::Trust;
use musher_protocol::{serve, worker};
use musher_store::url::{SshProtocol, SshStore};
use musher_store::{Connector, ServeStore, SshParts, Store, StoreError, Way, WorkerStore};

/// The program that answers on a machine, by the protocol it speaks.
pub(in super::super) enum Peer {
    /// A nix-daemon.
    Worker(Arc<WorkerStore>),
    /// A `nix-store --serve`.
    Serve {
        store: Arc<ServeStore>,
        /// The machine's nix-daemon, since that knows whom it trusts.
        daemon: Option<Box<WorkerStore>>,
    },
    /// A worker of ours.
    Musher(Arc<Session>),
}

/// The protocol and version that both ends agreed on.
#[derive(Debug, Clone, Copy)]
pub(super) enum Spoken {
    Worker(worker::Version),
    Serve(serve::Version),
    /// Each version of ours does all that the last one did.
    Musher,
}

impl Peer {
    /// The stock Nix of `store`, which `parts` lead to. Nothing is connected yet.
    pub(super) fn nix(store: &SshStore, parts: SshParts) -> Self {
        let SshParts {
            link,
            connector,
            store_dir,
        } = parts;
        match store.protocol {
            SshProtocol::Worker => {
                Self::Worker(Arc::new(WorkerStore::new(connector, store_dir, None)))
            }
            SshProtocol::Serve => {
                // With a program of the user's own nobody knows what else is there.
                let daemon = store.remote_program.is_empty().then(|| {
                    let mut asked = store.clone();
                    asked.protocol = SshProtocol::Worker;
                    let connector = Connector {
                        way: Way::Ssh {
                            link,
                            command: asked.remote_command(),
                        },
                        timeout: connector.timeout,
                    };
                    Box::new(WorkerStore::new(connector, store_dir.clone(), None))
                });
                let store = Arc::new(ServeStore::new(connector, store_dir));
                Self::Serve { store, daemon }
            }
        }
    }

    /// The machine's store.
    pub(in super::super) fn store(&self) -> Arc<dyn Store> {
        match self {
            Self::Worker(store) => store.clone(),
            Self::Serve { store, .. } => store.clone(),
            Self::Musher(session) => session.clone(),
        }
    }

    /// Starts the program; it stays for what comes next.
    pub(super) async fn start(&self) -> Result<Spoken, StoreError> {
        match self {
            Self::Worker(store) => {
                let connection = store.open().await?;
                let spoken = Spoken::Worker(connection.negotiated().version);
                store.give_back(connection);
                Ok(spoken)
            }
            Self::Serve { store, .. } => {
                let connection = store.open().await?;
                let spoken = Spoken::Serve(connection.negotiated().version);
                store.give_back(connection);
                Ok(spoken)
            }
            Self::Musher(_) => Ok(Spoken::Musher),
        }
    }

    /// Whether the machine trusts us, if that can be found out.
    pub(super) async fn trust(&self) -> Result<Option<Trust>, StoreError> {
        match self {
            Self::Worker(store) => {
                let (trust, connection) = store.trust().await?;
                store.give_back(connection);
                Ok(Some(trust))
            }
            Self::Serve { daemon: None, .. } => Ok(None),
            // It takes orders from whoever may start it.
            Self::Musher(_) => Ok(Some(Trust::Trusted)),
            Self::Serve {
                daemon: Some(daemon),
                ..
            } => {
                // It may have none, and then the program itself has the store.
                Ok(daemon.trust().await.ok().map(|(trust, _)| trust))
            }
        }
    }
}
