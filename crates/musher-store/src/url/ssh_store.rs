//! `ssh-ng://` and `ssh://` stores: who to ask, and what to run there.

use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;

use super::query::Query;
use super::{Authority, HostKey, UrlError};

/// What is spoken to the other host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SshProtocol {
    /// Nix's worker protocol (`ssh-ng://`).
    Worker,
    /// Nix's serve protocol (`ssh://`).
    Serve,
}

impl SshProtocol {
    /// The URL scheme, without `://`.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Worker => "ssh-ng",
            Self::Serve => "ssh",
        }
    }

    fn default_program(self) -> &'static str {
        match self {
            Self::Worker => "nix-daemon",
            Self::Serve => "nix-store",
        }
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Worker => &["--stdio"],
            Self::Serve => &["--serve", "--write"],
        }
    }
}

/// A store on another host, reached through ssh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshStore {
    /// What is spoken once connected.
    pub protocol: SshProtocol,
    /// Who and where.
    pub authority: Authority,
    /// The private key to log in with (`ssh-key`).
    pub key: Option<PathBuf>,
    /// The key the host must prove itself by (`base64-ssh-public-host-key`).
    pub host_key: Option<HostKey>,
    /// Program and arguments to start there (`remote-program`); empty means
    /// Nix's own.
    pub remote_program: Vec<String>,
    /// The store that program shall open (`remote-store`).
    pub remote_store: Option<String>,
    /// Whether ssh compresses (`compress`).
    pub compress: bool,
    /// How many connections may be open at once (`max-connections`).
    pub max_connections: Option<NonZeroU32>,
    /// The store directory, where it is not the default one (`store`).
    pub store_dir: Option<PathBuf>,
    /// The features the host is said to build with (`system-features`).
    pub system_features: Vec<String>,
}

const KNOWN: &[&str] = &[
    "ssh-key",
    "base64-ssh-public-host-key",
    "remote-program",
    "remote-store",
    "compress",
    "max-connections",
    "store",
    "system-features",
];

impl SshStore {
    /// The store at `authority` with no parameters.
    pub fn new(protocol: SshProtocol, authority: Authority) -> Self {
        Self {
            protocol,
            authority,
            key: None,
            host_key: None,
            remote_program: Vec::new(),
            remote_store: None,
            compress: false,
            max_connections: None,
            store_dir: None,
            system_features: Vec::new(),
        }
    }

    pub(super) fn from_parts(
        protocol: SshProtocol,
        authority: &str,
        query: &Query,
    ) -> Result<Self, UrlError> {
        let (authority, path) = match authority.find('/') {
            Some(at) => authority.split_at(at),
            None => (authority, ""),
        };
        if !matches!(path, "" | "/") {
            return Err(UrlError::HostPath { path: path.into() });
        }
        query.only(protocol.scheme(), KNOWN)?;
        let text = |name| query.text(name).filter(|value| !value.is_empty());
        let host_key = text("base64-ssh-public-host-key")
            .map(HostKey::from_base64)
            .transpose()
            .map_err(|source| UrlError::HostKey { source })?;
        let max_connections = text("max-connections")
            .map(|value| {
                value.parse().map_err(|_| {
                    UrlError::value("max-connections", value, "a number greater than 0")
                })
            })
            .transpose()?;
        Ok(Self {
            key: text("ssh-key").map(PathBuf::from),
            host_key,
            remote_program: query.words("remote-program"),
            remote_store: text("remote-store").map(str::to_owned),
            compress: query.flag("compress")?,
            max_connections,
            store_dir: query.path("store")?,
            system_features: query.words("system-features"),
            ..Self::new(protocol, Authority::parse(authority)?)
        })
    }

    /// The command to run on the other host, one word an element.
    pub fn remote_command(&self) -> Vec<String> {
        let mut command = self.remote_program.clone();
        if command.is_empty() {
            command.push(self.protocol.default_program().to_owned());
        }
        command.extend(self.protocol.arguments().iter().copied().map(str::to_owned));
        if let Some(store) = &self.remote_store {
            command.extend(["--store".to_owned(), store.clone()]);
        }
        command
    }
}

impl fmt::Display for SshStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut query = Query::default();
        query.push_path("ssh-key", self.key.as_deref());
        query.push(
            "base64-ssh-public-host-key",
            self.host_key.as_ref().map(HostKey::as_base64),
        );
        query.push_words("remote-program", &self.remote_program);
        query.push("remote-store", self.remote_store.as_deref());
        query.push("compress", self.compress.then_some("true"));
        let connections = self.max_connections.map(|count| count.to_string());
        query.push("max-connections", connections.as_deref());
        query.push_path("store", self.store_dir.as_deref());
        query.push_words("system-features", &self.system_features);
        write!(f, "{}://{}{query}", self.protocol.scheme(), self.authority)
    }
}
