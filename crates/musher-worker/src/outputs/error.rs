//! What keeps outputs from becoming store paths without being the build's
//! fault.

use std::io;
use std::path::{Path, PathBuf};

use musher_store::local::{ErrorClass, LocalError};
use nix_derivation::store_path;

use super::Rejection;
use super::kind::KindError;
use super::scratch::ScratchError;

/// Why outputs could not be looked at, moved or registered.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The store did not do its part.
    #[error("cannot {attempt}")]
    Store {
        /// What was tried.
        attempt: &'static str,
        /// Why not.
        source: Box<LocalError>,
    },
    /// The system refused.
    #[error("cannot {attempt} `{}`", .path.display())]
    File {
        /// What was tried.
        attempt: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The derivation's outputs make no sense.
    #[error("cannot build `{drv}`")]
    Kind {
        /// The derivation, absolute.
        drv: String,
        /// What is wrong.
        source: Box<KindError>,
    },
    /// An output has no name.
    #[error(transparent)]
    Scratch(ScratchError),
    /// The caller does not say where an output is.
    #[error("nobody said where output `{output}` of `{drv}` lies")]
    Nowhere {
        /// The derivation, absolute.
        drv: String,
        /// The output's name.
        output: String,
    },
    /// No path can be made of a content address.
    #[error("output `{output}` of `{drv}` has no path")]
    Path {
        /// The derivation, absolute.
        drv: String,
        /// The output's name.
        output: String,
        /// Why not.
        source: store_path::Error,
    },
    /// The derivation has no hash modulo.
    #[error("cannot hash derivation `{drv}`")]
    Hash {
        /// The derivation, absolute.
        drv: String,
        /// Why not.
        source: nix_derivation::Error,
    },
}

impl OutputError {
    pub(crate) fn store(attempt: &'static str) -> impl Fn(LocalError) -> Self {
        move |source| Self::Store {
            attempt,
            source: Box::new(source),
        }
    }

    pub(crate) fn file(attempt: &'static str, path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::File {
            attempt,
            path: path.to_owned(),
            source,
        }
    }

    /// Whose fault it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Store { source, .. } => source.class(),
            Self::File { .. } => ErrorClass::Environment,
            Self::Kind { .. }
            | Self::Scratch(_)
            | Self::Nowhere { .. }
            | Self::Path { .. }
            | Self::Hash { .. } => ErrorClass::User,
        }
    }

    /// Whether the disk, or the user's share of it, is full.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Store { source, .. } => source.is_disk_full(),
            Self::File { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            ),
            Self::Kind { .. }
            | Self::Scratch(_)
            | Self::Nowhere { .. }
            | Self::Path { .. }
            | Self::Hash { .. } => false,
        }
    }

    /// Advice the user can act on, if there is any.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Store { source, .. } => source.help(),
            Self::File { .. } if self.is_disk_full() => {
                Some("free some space there, for instance with `musher store gc`".to_owned())
            }
            Self::File { .. }
            | Self::Kind { .. }
            | Self::Scratch(_)
            | Self::Nowhere { .. }
            | Self::Path { .. }
            | Self::Hash { .. } => None,
        }
    }
}

/// Either end that looking at an output can come to before it is registered.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The build's.
    Rejected(Rejection),
    /// Ours, or the host's.
    Failed(OutputError),
}

impl From<Rejection> for Stop {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl From<OutputError> for Stop {
    fn from(error: OutputError) -> Self {
        Self::Failed(error)
    }
}
