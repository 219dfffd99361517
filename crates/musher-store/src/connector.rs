//! How to get one more connection to the same store. Knows no protocol.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nix_narinfo::TrustedPublicKey;

use crate::StoreError;
use crate::local::LocalOptions;
use crate::local_session::connect_local;
use crate::ssh::Link;
use crate::transport::Transport;

/// Where a store's program is reached.
#[derive(Debug, Clone)]
pub enum Way {
    /// A daemon that listens on this host.
    Socket(PathBuf),
    /// A program on this host, which is started for each connection.
    Program(Vec<String>),
    /// This process itself: the store is on this disk, and no program of Nix's
    /// is needed.
    Local {
        /// Which store.
        options: LocalOptions,
        /// Whose signatures count.
        keys: Arc<[TrustedPublicKey]>,
    },
    /// A program on another host, started on a link that we keep.
    Ssh {
        /// The link.
        link: Link,
        /// The program and its arguments.
        command: Vec<String>,
    },
}

/// Opens connections to one store.
#[derive(Debug, Clone)]
pub struct Connector {
    /// Where.
    pub way: Way,
    /// The longest time until the other end has answered the handshake.
    pub timeout: Duration,
}

impl Connector {
    /// Opens a transport and shakes hands over it with `handshake`, all within
    /// the connector's time.
    pub(crate) async fn open<T>(
        &self,
        handshake: impl AsyncFnOnce(Transport) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if let Way::Ssh { link, .. } = &self.way {
            // ssh has a time limit of its own, with better words for its end.
            link.connect().await.map_err(StoreError::Ssh)?;
        }
        let opened = async { handshake(self.transport().await?).await };
        tokio::time::timeout(self.timeout, opened)
            .await
            .unwrap_or_else(|_| {
                Err(StoreError::Silent {
                    command: self.name(),
                    after: self.timeout,
                })
            })
    }

    async fn transport(&self) -> Result<Transport, StoreError> {
        match &self.way {
            Way::Socket(path) => Transport::unix(path).await.map_err(StoreError::Open),
            Way::Program(command) => Transport::command(command).map_err(StoreError::Open),
            Way::Local { options, keys } => connect_local(options.clone(), Arc::clone(keys)).await,
            Way::Ssh { link, command } => link.channel(command).await.map_err(StoreError::Ssh),
        }
    }

    fn name(&self) -> String {
        match &self.way {
            Way::Socket(path) => path.display().to_string(),
            Way::Local { options, .. } => local_name(options),
            Way::Program(command) | Way::Ssh { command, .. } => command.join(" "),
        }
    }
}

/// What to call the store that `options` say.
fn local_name(options: &LocalOptions) -> String {
    match &options.root {
        Some(root) => format!("the store below {}", root.display()),
        None => options.store_dir.as_str().to_owned(),
    }
}
