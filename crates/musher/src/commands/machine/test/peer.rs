//! A machine's stock Nix as the test speaks to it, by whichever protocol.

use std::sync::Arc;

use musher_protocol::worker::Trust;
use musher_protocol::{serve, worker};
use musher_store::ssh::Link;
use musher_store::url::{SshProtocol, SshStore};
use musher_store::{Connector, ServeStore, SshParts, Store, StoreError, Way, WorkerStore};

/// The program that answers on a machine.
pub(super) struct Peer {
    pub(super) link: Link,
    pub(super) program: Program,
}

/// The program, by the protocol it speaks.
pub(super) enum Program {
    /// A nix-daemon.
    Worker(Arc<WorkerStore>),
    /// A `nix-store --serve`.
    Serve {
        store: Arc<ServeStore>,
        /// The machine's nix-daemon, since that knows whom it trusts.
        daemon: Option<WorkerStore>,
    },
}

/// The protocol and version that both ends agreed on.
#[derive(Debug, Clone, Copy)]
pub(super) enum Spoken {
    Worker(worker::Version),
    Serve(serve::Version),
}

impl Peer {
    /// The program of `store`, which `parts` lead to. Nothing is connected yet.
    pub(super) fn new(store: &SshStore, parts: SshParts) -> Self {
        let SshParts {
            link,
            connector,
            store_dir,
        } = parts;
        let program = match store.protocol {
            SshProtocol::Worker => {
                Program::Worker(Arc::new(WorkerStore::new(connector, store_dir, None)))
            }
            SshProtocol::Serve => {
                // With a program of the user's own nobody knows what else is there.
                let daemon = store.remote_program.is_empty().then(|| {
                    let mut asked = store.clone();
                    asked.protocol = SshProtocol::Worker;
                    let connector = Connector {
                        way: Way::Ssh {
                            link: link.clone(),
                            command: asked.remote_command(),
                        },
                        timeout: connector.timeout,
                    };
                    WorkerStore::new(connector, store_dir.clone(), None)
                });
                let store = Arc::new(ServeStore::new(connector, store_dir));
                Program::Serve { store, daemon }
            }
        };
        Self { link, program }
    }

    /// The machine's store.
    pub(super) fn store(&self) -> Arc<dyn Store> {
        match &self.program {
            Program::Worker(store) => store.clone(),
            Program::Serve { store, .. } => store.clone(),
        }
    }

    /// Starts the program; it stays for what comes next.
    pub(super) async fn start(&self) -> Result<Spoken, StoreError> {
        match &self.program {
            Program::Worker(store) => {
                let connection = store.open().await?;
                let spoken = Spoken::Worker(connection.negotiated().version);
                store.give_back(connection);
                Ok(spoken)
            }
            Program::Serve { store, .. } => {
                let connection = store.open().await?;
                let spoken = Spoken::Serve(connection.negotiated().version);
                store.give_back(connection);
                Ok(spoken)
            }
        }
    }

    /// Whether the machine trusts us, if that can be found out.
    pub(super) async fn trust(&self) -> Result<Option<Trust>, StoreError> {
        match &self.program {
            Program::Worker(store) => {
                let (trust, connection) = store.trust().await?;
                store.give_back(connection);
                Ok(Some(trust))
            }
            Program::Serve { daemon: None, .. } => Ok(None),
            Program::Serve {
                daemon: Some(daemon),
                ..
            } => {
                // It may have none, and then the program itself has the store.
                Ok(daemon.trust().await.ok().map(|(trust, _)| trust))
            }
        }
    }
}
