//! What can go wrong between us and a program on another host, up to the moment
//! when it speaks.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::{ControlDirError, Stage};
use crate::transport::TransportError;

/// An ssh connection or session that could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SshError {
    /// No connection to the host.
    #[error("cannot connect to `{target}` by ssh")]
    Connect {
        /// `[user@]host[:port]`.
        target: String,
        /// Why not.
        #[source]
        source: ConnectFault,
    },
    /// There was a connection, but it is gone.
    #[error("the ssh connection to `{target}` is lost")]
    Lost {
        /// `[user@]host[:port]`.
        target: String,
        /// What ssh said about it.
        #[source]
        source: SshOutput,
    },
    /// The link was closed by this process.
    #[error("the ssh connection to `{target}` was closed")]
    Closed {
        /// `[user@]host[:port]`.
        target: String,
    },
    /// The host lets no further session onto this connection.
    #[error("`{target}` accepts no further session on one connection")]
    TooManySessions {
        /// `[user@]host[:port]`.
        target: String,
    },
    /// The session did not start in time.
    #[error("`{target}` did not start `{command}` within {} s", after.as_secs_f32())]
    SessionTimeout {
        /// `[user@]host[:port]`.
        target: String,
        /// The command line.
        command: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// The session could not be opened for a reason of ssh's own.
    #[error("cannot start `{command}` on `{target}`")]
    Session {
        /// `[user@]host[:port]`.
        target: String,
        /// The command line.
        command: String,
        /// What the multiplexing protocol said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The command is for this host, and did not start.
    #[error("cannot use this host as `localhost`")]
    Localhost {
        /// Why not.
        #[source]
        source: TransportError,
    },
    /// The directory of control sockets cannot be used.
    #[error("cannot prepare ssh's control socket")]
    ControlDir {
        /// Why not.
        #[source]
        source: ControlDirError,
    },
    /// `NIX_SSHOPTS` with a quote left open.
    #[error("cannot split `NIX_SSHOPTS` into words: `{value}`")]
    SshOpts {
        /// The value as it was given.
        value: String,
    },
}

impl SshError {
    /// Advice the user can act on, if there is any.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Connect { target, source } => source.help(target),
            Self::TooManySessions { .. } => {
                Some("raise `MaxSessions` in the host's sshd_config".into())
            }
            Self::SessionTimeout { .. } => {
                Some("the host may be overloaded; try it again, or raise `connect-timeout`".into())
            }
            Self::Localhost { source } => source.help(),
            Self::ControlDir { source } => source.help(),
            Self::SshOpts { .. } => Some("close the open quote".into()),
            Self::Lost { .. } | Self::Closed { .. } | Self::Session { .. } => None,
        }
    }
}

/// Why ssh could not connect, as far as its words and its end tell.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConnectFault {
    /// There is no `ssh` program, or no shell to start it.
    #[error("cannot start `ssh`")]
    NoSsh {
        /// What was said about it.
        #[source]
        said: SshOutput,
    },
    /// ssh does not understand its arguments or its configuration.
    #[error("ssh does not accept its options")]
    Options {
        /// ssh's own words.
        #[source]
        said: SshOutput,
    },
    /// The name has no address.
    #[error("the host name has no address")]
    UnknownName {
        /// ssh's own words.
        #[source]
        said: SshOutput,
    },
    /// Nothing listens on the port.
    #[error("the host refuses connections on this port")]
    Refused {
        /// ssh's own words.
        #[source]
        said: SshOutput,
    },
    /// No way to the host.
    #[error("the host cannot be reached")]
    Unreachable {
        /// ssh's own words.
        #[source]
        said: SshOutput,
    },
    /// No answer in time.
    #[error("no answer within {} s while {stage}", after.as_secs_f32())]
    TimedOut {
        /// How long it was waited for.
        after: Duration,
        /// How far it had come.
        stage: Stage,
        /// ssh's own words.
        #[source]
        said: SshOutput,
    },
    /// What listens there is no ssh server.
    #[error(
        "what answers on this port is no ssh server{}",
        banner.as_ref().map_or(String::new(), |line| format!(", it says `{line}`"))
    )]
    NotSsh {
        /// The first line it sent, where ssh told.
        banner: Option<String>,
        /// ssh's own words.
        #[source]
        said: SshOutput,
    },
    /// The server hung up before anyone logged in.
    #[error("the host closed the connection while {stage}")]
    HungUp {
        /// How far it had come.
        stage: Stage,
        /// ssh's own words.
        #[source]
        said: SshOutput,
    },
    /// The two sides share no algorithm.
    #[error("ssh and the host have no algorithm in common")]
    NoCommonAlgorithm {
        /// ssh's own words.
        #[source]
        said: SshOutput,
    },
    /// The host's key is not known.
    #[error("the host's key is not known here")]
    UnknownHostKey {
        /// ssh's own words.
        #[source]
        said: SshOutput,
    },
    /// The host showed another key than the one that is known.
    #[error("the host's key is not the one that is known here")]
    ChangedHostKey {
        /// ssh's own words.
        #[source]
        said: SshOutput,
    },
    /// The host takes none of our keys.
    #[error("the host refused the key")]
    KeyRefused {
        /// ssh's own words.
        #[source]
        said: SshOutput,
    },
    /// The private key's file cannot be read.
    #[error("there is no private key to read at `{path}`", path = path.display())]
    KeyMissing {
        /// The file.
        path: PathBuf,
        /// ssh's own words.
        #[source]
        said: SshOutput,
    },
    /// Others may read the private key, so ssh does not use it.
    #[error("the private key `{path}` is readable by others", path = path.display())]
    KeyTooOpen {
        /// The file.
        path: PathBuf,
        /// ssh's own words.
        #[source]
        said: SshOutput,
    },
    /// The private key is none, or needs a passphrase.
    #[error("the private key `{path}` cannot be used", path = path.display())]
    KeyUnusable {
        /// The file.
        path: PathBuf,
        /// ssh's own words.
        #[source]
        said: SshOutput,
    },
    /// Connected, but without a control socket to open sessions through.
    #[error("ssh connected, but its control socket does not answer")]
    NoControl {
        /// ssh's own words.
        #[source]
        said: SshOutput,
    },
    /// Anything else.
    #[error("ssh ended{}", status.map_or(String::new(), |status| format!(" with status {status}")))]
    Other {
        /// ssh's exit status, unless a signal ended it.
        status: Option<i32>,
        /// ssh's own words.
        #[source]
        said: SshOutput,
    },
}

impl ConnectFault {
    /// Advice the user can act on, if there is any.
    fn help(&self, target: &str) -> Option<String> {
        Some(match self {
            Self::NoSsh { .. } => "install OpenSSH's client (`apt install openssh-client`)".into(),
            Self::Options { .. } => "look at `NIX_SSHOPTS` and at `~/.ssh/config`".into(),
            Self::UnknownName { .. } => {
                "check the spelling, or give the host an address in `~/.ssh/config`".into()
            }
            Self::Refused { .. } => {
                "check the port (`ssh://HOST:PORT`), and that sshd runs on the host".into()
            }
            Self::Unreachable { .. } => "check that the host is up and the network between".into(),
            Self::TimedOut { stage, .. } => match stage {
                Stage::Resolving => "check this host's name servers".into(),
                Stage::Connecting => "check that the host is up, and for a firewall".into(),
                Stage::Greeting => {
                    "something listens on the port, but sshd does not answer: check the port, \
                     and whether the host is overloaded"
                        .into()
                }
                Stage::KeyExchange | Stage::Authenticating | Stage::Starting => {
                    "the host may be overloaded; raise `connect-timeout` if it is slow".into()
                }
            },
            Self::NotSsh { .. } => "check the port: it is the one sshd listens on".into(),
            Self::HungUp { .. } => {
                "the host may have too many connections (`MaxStartups`) or keep this address \
                 out; its sshd log says which"
                    .into()
            }
            Self::NoCommonAlgorithm { .. } => {
                "where a host key is configured, its type must be one the host has".into()
            }
            Self::UnknownHostKey { .. } => format!(
                "compare its fingerprint, then add it with `ssh-keyscan`, or give it as \
                 `base64-ssh-public-host-key=`; `ssh ssh://{target}` once by hand does it too"
            ),
            Self::ChangedHostKey { .. } => {
                "if the host was set up anew, replace the known key; otherwise someone may be \
                 listening in"
                    .into()
            }
            Self::KeyRefused { .. } => {
                "put the public half of the key into `~/.ssh/authorized_keys` of that user on the \
                 host; name the private half with `ssh-key=`"
                    .into()
            }
            Self::KeyMissing { .. } => {
                "check the path; a daemon sees the files of its own user".into()
            }
            Self::KeyTooOpen { path, .. } => format!("run `chmod 600 {}`", path.display()),
            Self::KeyUnusable { .. } => {
                "use a private key without a passphrase, or put it into an agent".into()
            }
            Self::NoControl { .. } | Self::Other { .. } => return None,
        })
    }

    /// What ssh itself said.
    pub fn said(&self) -> &SshOutput {
        match self {
            Self::NoSsh { said }
            | Self::Options { said }
            | Self::UnknownName { said }
            | Self::Refused { said }
            | Self::Unreachable { said }
            | Self::TimedOut { said, .. }
            | Self::NotSsh { said, .. }
            | Self::HungUp { said, .. }
            | Self::NoCommonAlgorithm { said }
            | Self::UnknownHostKey { said }
            | Self::ChangedHostKey { said }
            | Self::KeyRefused { said }
            | Self::KeyMissing { said, .. }
            | Self::KeyTooOpen { said, .. }
            | Self::KeyUnusable { said, .. }
            | Self::NoControl { said }
            | Self::Other { said, .. } => said,
        }
    }
}

/// The last lines that ssh wrote to its standard error, oldest first, without
/// what it writes only because we ask it to be verbose.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SshOutput {
    /// The lines.
    pub lines: Vec<String>,
}

impl fmt::Display for SshOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lines.is_empty() {
            return f.write_str("ssh said nothing");
        }
        write!(f, "ssh said `{}`", self.lines.join("`, `"))
    }
}

impl std::error::Error for SshOutput {}
