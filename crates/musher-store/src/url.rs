//! Store URLs as Nix writes them, parsed once into what they mean.
//!
//! ```text
//! url     = ("ssh-ng" / "ssh") "://" [user "@"] host [":" port] [params]
//!         / "unix://" [path] [params]
//!         / ("daemon" / "auto" / "local") [params]
//!         / absolute-path [params]              a local store below that root
//!         / [user "@"] host [":" port] [params] short for ssh://
//! params  = "?" name "=" value *("&" name "=" value)
//! ```
//!
//! Names and values are percent-encoded. Nix warns about a parameter it does not
//! know and goes on without it; here that is an error, since a misspelt
//! `ssh-key` would otherwise show up as a refused login.
//!
//! Nothing here looks at the disk, the environment or the network.

mod authority;
mod error;
mod host_key;
mod query;
mod ssh_store;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

pub use authority::{Authority, Host};
pub use error::UrlError;
pub use host_key::{HostKey, HostKeyError};
pub use ssh_store::{SshProtocol, SshStore};

use query::Query;

/// Where Nix's daemon listens unless a URL says otherwise.
pub const DEFAULT_DAEMON_SOCKET: &str = "/nix/var/nix/daemon-socket/socket";

/// Which store is meant, and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// `ssh-ng://` or `ssh://`: a store on a host reached by ssh.
    Ssh(SshStore),
    /// `unix://` or `daemon`: a daemon on this host.
    Daemon(DaemonStore),
    /// `auto`: the daemon where one listens, otherwise the local store.
    Auto(LocalParams),
    /// `local` or an absolute path: the store on this host's disk.
    Local(LocalParams),
}

/// A daemon that listens on a unix socket.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DaemonStore {
    /// The socket, where the URL names one.
    pub socket: Option<PathBuf>,
    /// What the URL says about the files behind the daemon.
    pub params: LocalParams,
}

impl DaemonStore {
    /// The socket to connect to.
    pub fn socket(&self) -> PathBuf {
        self.socket
            .clone()
            .unwrap_or_else(|| PathBuf::from(DEFAULT_DAEMON_SOCKET))
    }
}

/// Parameters of the stores whose files lie on this host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LocalParams {
    /// Directory below which the store directory physically lies.
    pub root: Option<PathBuf>,
    /// The store directory, where it is not the default one (`store=`).
    pub store_dir: Option<PathBuf>,
    /// The features the store is said to build with (`system-features=`).
    pub system_features: Vec<String>,
}

impl LocalParams {
    const KNOWN: &'static [&'static str] = &["root", "store", "system-features"];

    fn from_query(kind: &'static str, query: &Query) -> Result<Self, UrlError> {
        query.only(kind, Self::KNOWN)?;
        Ok(Self {
            root: query.path("root")?,
            store_dir: query.path("store")?,
            system_features: query.words("system-features"),
        })
    }

    fn to_query(&self) -> Query {
        let mut query = Query::default();
        query.push_path("root", self.root.as_deref());
        query.push_path("store", self.store_dir.as_deref());
        query.push_words("system-features", &self.system_features);
        query
    }
}

impl FromStr for StoreUrl {
    type Err = UrlError;

    fn from_str(url: &str) -> Result<Self, UrlError> {
        if url.is_empty() {
            return Err(UrlError::Empty);
        }
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let query = Query::parse(query)?;
        let Some((scheme, rest)) = base.split_once("://") else {
            return match base {
                "daemon" => Self::daemon("", &query),
                "auto" => Ok(Self::Auto(LocalParams::from_query("auto", &query)?)),
                "local" => Self::local("", &query),
                path if path.starts_with('/') => Self::local(path, &query),
                path if path.contains('/') => Err(UrlError::RelativePath { path: path.into() }),
                host => Self::ssh(SshProtocol::Serve, host, &query),
            };
        };
        match scheme {
            "ssh-ng" => Self::ssh(SshProtocol::Worker, rest, &query),
            "ssh" => Self::ssh(SshProtocol::Serve, rest, &query),
            "unix" => Self::daemon(rest, &query),
            "local" => Self::local(rest, &query),
            other => Err(UrlError::Scheme {
                scheme: other.into(),
            }),
        }
    }
}

impl StoreUrl {
    fn ssh(protocol: SshProtocol, authority: &str, query: &Query) -> Result<Self, UrlError> {
        SshStore::from_parts(protocol, authority, query).map(Self::Ssh)
    }

    fn daemon(path: &str, query: &Query) -> Result<Self, UrlError> {
        Ok(Self::Daemon(DaemonStore {
            socket: absolute(path)?,
            params: LocalParams::from_query("unix", query)?,
        }))
    }

    fn local(path: &str, query: &Query) -> Result<Self, UrlError> {
        let mut params = LocalParams::from_query("local", query)?;
        if let Some(root) = absolute(path)? {
            if params.root.is_some() {
                return Err(UrlError::TwoRoots);
            }
            params.root = Some(root);
        }
        Ok(Self::Local(params))
    }
}

/// A percent-encoded absolute path, or nothing where it is empty.
fn absolute(path: &str) -> Result<Option<PathBuf>, UrlError> {
    if path.is_empty() {
        return Ok(None);
    }
    let path = query::decode(path)?;
    if path.starts_with('/') {
        Ok(Some(PathBuf::from(path)))
    } else {
        Err(UrlError::RelativePath { path })
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ssh(store) => store.fmt(f),
            Self::Daemon(DaemonStore { socket, params }) => {
                match socket {
                    Some(path) => write!(f, "unix://{}", query::encode_path(path))?,
                    None => f.write_str("daemon")?,
                }
                params.to_query().fmt(f)
            }
            Self::Auto(params) => write!(f, "auto{}", params.to_query()),
            Self::Local(params) => write!(f, "local{}", params.to_query()),
        }
    }
}

#[cfg(test)]
mod tests;
