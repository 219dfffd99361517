//! How the worker on a machine is reached. Knows nothing of what is said.

use musher_store::StoreError;
use musher_store::ssh::{Link, SshOptions, SshTarget};
use musher_store::transport::{PeerEnd, Transport};
use musher_store::url::SshStore;

use super::local::LocalWorker;
use super::shim::ShimWay;

/// The way to a worker.
#[expect(clippy::large_enum_variant, reason = "there is one a machine")]
pub enum Way {
    /// The shim that `machine add` put on another host.
    Shim(ShimWay),
    /// A command on another host.
    Ssh {
        /// The connections to the host.
        link: Link,
        /// What is run there.
        command: Vec<String>,
    },
    /// A command on this host whose standard input and output lead to
    /// `musher worker --stdio`, wherever that is.
    Exec(Vec<String>),
    /// A child process of ours.
    Local(LocalWorker),
    /// A socket of the test's.
    #[cfg(test)]
    Socket(std::path::PathBuf),
}

impl Way {
    /// The worker of the user and host that `store` names. Without a program of
    /// its own that is what our shim there calls it.
    pub fn ssh(store: &SshStore, ssh: &SshOptions) -> Self {
        let mut ssh = ssh.clone();
        let mut command = store.remote_program.clone();
        if command.is_empty() {
            // Another key of the user's would not lead to the shim.
            ssh.own_key_only = true;
            return Self::Shim(ShimWay::new(Link::new(SshTarget::from(store), ssh)));
        }
        command.extend(["worker".to_owned(), "--stdio".to_owned()]);
        Self::Ssh {
            link: Link::new(SshTarget::from(store), ssh),
            command,
        }
    }

    /// Starts what can only be connected to once it runs. That takes as long as
    /// it takes, where a connection has a bound.
    pub async fn started(&self) -> Result<(), StoreError> {
        match self {
            Self::Local(worker) => worker.started().await.map_err(StoreError::Open),
            Self::Shim(_) | Self::Ssh { .. } | Self::Exec(_) => Ok(()),
            #[cfg(test)]
            Self::Socket(_) => Ok(()),
        }
    }

    /// One more connection.
    pub async fn transport(&self) -> Result<Transport, StoreError> {
        match self {
            Self::Shim(shim) => shim.transport().await,
            Self::Ssh { link, command } => link.channel(command).await.map_err(StoreError::Ssh),
            Self::Exec(words) => Transport::command(words).map_err(StoreError::Open),
            Self::Local(worker) => worker.transport().await.map_err(StoreError::Open),
            #[cfg(test)]
            Self::Socket(path) => Transport::unix(path).await.map_err(StoreError::Open),
        }
    }

    /// The connections to the host, where it is reached by ssh.
    pub fn link(&self) -> Option<&Link> {
        match self {
            Self::Shim(shim) => Some(shim.link()),
            Self::Ssh { link, .. } => Some(link),
            Self::Exec(_) | Self::Local(_) => None,
            #[cfg(test)]
            Self::Socket(_) => None,
        }
    }

    /// Whether a connection that ended so is worth being tried again.
    pub(super) async fn mend(&self, end: &PeerEnd) -> bool {
        match self {
            Self::Shim(shim) => shim.mend(end).await,
            Self::Ssh { .. } | Self::Exec(_) | Self::Local(_) => false,
            #[cfg(test)]
            Self::Socket(_) => false,
        }
    }

    /// Whether a second connection leads to the same worker. A command that
    /// allocates a machine would allocate another.
    pub fn has_many(&self) -> bool {
        match self {
            Self::Shim(_) | Self::Ssh { .. } | Self::Local(_) => true,
            #[cfg(test)]
            Self::Socket(_) => true,
            Self::Exec(_) => false,
        }
    }

    /// Lets go of what is open: a worker that is a child ends.
    pub async fn close(&self) {
        match self {
            Self::Local(worker) => worker.close().await,
            Self::Shim(_) | Self::Ssh { .. } | Self::Exec(_) => {}
            #[cfg(test)]
            Self::Socket(_) => {}
        }
    }
}
