//! Programs on other hosts through the user's own `ssh`: their configuration,
//! agent, jump hosts and known hosts count as they do at their prompt.
//!
//! A [`Link`] is a host: it keeps one or more [`Master`]s, each one an ssh
//! connection that is ours, and opens sessions on them without starting a
//! process. `docs/design/ssh.md` tells why it is done so. Nothing here knows
//! what the sessions speak.

mod ciphers;
mod command_line;
mod control;
mod error;
mod link;
mod master;
mod mux;
mod process;
mod session;
mod transcript;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use control::{ControlDir, ControlDirError};
pub use error::{ConnectFault, SshError, SshOutput};
pub use link::Link;
pub use master::Master;
pub use session::Channel;
pub use transcript::Stage;

use crate::url::{Authority, HostKey, SshStore};

/// How to use ssh; the same for every host.
#[derive(Debug, Clone)]
pub struct SshOptions {
    /// How long a connection may take until a command can be started on it,
    /// and how long the start of a command may take.
    pub connect_timeout: Duration,
    /// How often a silent host is asked whether it is still there, in whole
    /// seconds. After two questions without an answer, which is three times this,
    /// the connection is given up.
    pub keepalive_interval: Duration,
    /// Where the control sockets of this process are.
    pub control_dir: Arc<ControlDir>,
    /// Arguments of the user's (`NIX_SSHOPTS`, split). They come before ours,
    /// and ssh takes the first value it is given.
    pub extra: Vec<String>,
    /// Whether somebody sits at the terminal whom ssh may ask for a password
    /// or a passphrase. Connecting may then take [`PATIENCE`] longer. A host
    /// key is never asked about: it is known or configured.
    pub interactive: bool,
    /// Whether only a target's own key will do, where it has one: no other of
    /// the user's, from an agent or an option, is offered before it. What a key
    /// may do can differ.
    pub own_key_only: bool,
}

/// How long somebody at the terminal may take to type what ssh asks for.
pub const PATIENCE: Duration = Duration::from_secs(180);

impl SshOptions {
    /// Options with defaults: 10 s to connect, a question every 2 s.
    pub fn new(control_dir: Arc<ControlDir>) -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            keepalive_interval: Duration::from_secs(2),
            control_dir,
            extra: Vec::new(),
            interactive: false,
            own_key_only: false,
        }
    }

    /// How long a connection may take.
    fn connect_bound(&self) -> Duration {
        match self.interactive {
            true => self.connect_timeout + PATIENCE,
            false => self.connect_timeout,
        }
    }

    /// Takes the value of `NIX_SSHOPTS`, quoted as in a shell.
    ///
    /// # Errors
    ///
    /// Where a quote is not closed.
    pub fn with_nix_sshopts(mut self, value: &str) -> Result<Self, SshError> {
        self.extra = shell_words::split(value).map_err(|_| SshError::SshOpts {
            value: value.to_owned(),
        })?;
        Ok(self)
    }
}

/// Which host to connect to, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshTarget {
    /// User, host and port.
    pub authority: Authority,
    /// The private key to log in with; ssh's own choice where absent.
    pub key: Option<PathBuf>,
    /// The key the host must prove itself by; known_hosts where absent.
    pub host_key: Option<HostKey>,
    /// Whether ssh compresses.
    pub compress: bool,
}

impl SshTarget {
    /// Whether commands are started on this host without ssh, as Nix does for
    /// the host name `localhost`.
    pub fn is_localhost(&self) -> bool {
        self.authority.host.is_localhost()
    }
}

impl From<&SshStore> for SshTarget {
    fn from(store: &SshStore) -> Self {
        Self {
            authority: store.authority.clone(),
            key: store.key.clone(),
            host_key: store.host_key.clone(),
            compress: store.compress,
        }
    }
}
