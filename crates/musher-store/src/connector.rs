//! How to get one more connection to the same store. Knows no protocol.

use std::path::PathBuf;
use std::time::Duration;

use crate::StoreError;
use crate::ssh::Link;
use crate::transport::Transport;

/// Where a store's program is reached.
#[derive(Debug, Clone)]
pub enum Way {
    /// A daemon that listens on this host.
    Socket(PathBuf),
    /// A program on this host, which is started for each connection.
    Program(Vec<String>),
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
            Way::Ssh { link, command } => link.channel(command).await.map_err(StoreError::Ssh),
        }
    }

    fn name(&self) -> String {
        match &self.way {
            Way::Socket(path) => path.display().to_string(),
            Way::Program(command) | Way::Ssh { command, .. } => command.join(" "),
        }
    }
}
