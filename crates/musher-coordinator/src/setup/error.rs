//! Why `setup` cannot go on.

use std::io;
use std::path::PathBuf;

use super::replace_file::ReplaceError;
use crate::config::NotDrivable;

/// A set-up that is refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// There is nothing to build on.
    #[error("no machine to build on")]
    NoMachines {
        /// Why the first configured machine is none, if there is one.
        #[source]
        first: Option<NotDrivable>,
    },
    /// The builders file has a name that `nix.conf` cannot hold.
    #[error("nix.conf cannot name the builders file `{}`", path.display())]
    BuildersPath {
        /// The file.
        path: PathBuf,
    },
    /// The socket has a name that `nix.conf` cannot hold.
    #[error("nix.conf cannot name the socket `{}`", path.display())]
    SocketPath {
        /// The socket.
        path: PathBuf,
    },
    /// A file to be written is generated from something else.
    #[error("`{}` is part of a generated configuration: it leads to `{}`", path.display(), target.display())]
    InStore {
        /// The file.
        path: PathBuf,
        /// Where it leads, in the Nix store.
        target: PathBuf,
    },
    /// A file could not be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file could not be written.
    #[error("nothing more was written")]
    Write {
        /// Which, and why not.
        #[source]
        source: ReplaceError,
    },
}

impl SetupError {
    /// Whether the user's wishes are at fault, rather than the disk.
    pub fn is_users(&self) -> bool {
        match self {
            Self::NoMachines { .. }
            | Self::BuildersPath { .. }
            | Self::SocketPath { .. }
            | Self::InStore { .. } => true,
            Self::Read { .. } | Self::Write { .. } => false,
        }
    }

    /// Advice the user can act on, if there is any.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::NoMachines { first: None } => Some(
                "add a `[[machine]]` to musher.toml, or import Nix's with \
                 `musher machine import /etc/nix/machines --write`"
                    .to_owned(),
            ),
            Self::NoMachines { first: Some(first) } => first.help(),
            Self::BuildersPath { .. } => Some(
                "choose an absolute path without blanks, `#` and `;` by `--builders-file`"
                    .to_owned(),
            ),
            Self::SocketPath { .. } => Some(
                "choose a directory of letters, digits, `-`, `.` and `_` by `--run`".to_owned(),
            ),
            Self::InStore { .. } => Some(
                "on NixOS put the lines that `musher setup` prints under `nix.settings`: \
                 `builders = lib.mkForce \"@FILE\"; builders-use-substitutes = true; \
                 max-jobs = 0;`"
                    .to_owned(),
            ),
            Self::Write { source } => source.help(),
            Self::Read { .. } => None,
        }
    }
}
