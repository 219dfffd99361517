//! What a client asks. Knows nothing of what follows a request, nor of the
//! answers.

use std::collections::BTreeSet;
use std::fmt;

use nix_derivation::StorePath;

use super::export::BodyKind;
use super::{BuildOptions, Version, path_info};
use crate::types::{BasicDerivation, PathInfo};
use crate::wire::{DecodeError, Decoder, Encoder};

/// The kinds of request, with their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Command {
    /// Which of these are valid?
    QueryValidPaths = 1,
    /// What is known about these?
    QueryPathInfos = 2,
    /// Send the NAR of this.
    DumpStorePath = 3,
    /// Take this export stream.
    ImportPaths = 4,
    /// Realise these.
    BuildPaths = 6,
    /// What do these need?
    QueryClosure = 7,
    /// Build this derivation, which need not be in the store.
    BuildDerivation = 8,
    /// Take this NAR.
    AddToStoreNar = 9,
}

impl Command {
    /// Every command, in the order of its number.
    pub const ALL: [Self; 8] = [
        Self::QueryValidPaths,
        Self::QueryPathInfos,
        Self::DumpStorePath,
        Self::ImportPaths,
        Self::BuildPaths,
        Self::QueryClosure,
        Self::BuildDerivation,
        Self::AddToStoreNar,
    ];

    async fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        let offset = d.offset();
        let number = d.u64("command").await?;
        let command = Self::ALL.iter().find(|it| **it as u64 == number);
        command.copied().ok_or_else(|| {
            let found = match number {
                5 => "5 (ExportPaths, which Nix no longer has)".to_owned(),
                _ => number.to_string(),
            };
            d.error("command", offset, "a command, 1 to 4 or 6 to 9", found)
        })
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// One request, without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Which of these are valid?
    QueryValidPaths {
        /// Whether to keep them from garbage collection while the session is
        /// open.
        lock: bool,
        /// Whether to try and substitute those that are not valid.
        substitute: bool,
        /// The paths in question.
        paths: BTreeSet<StorePath>,
    },
    /// What is known about these? Answered for the valid ones only.
    QueryPathInfos {
        /// The paths in question.
        paths: BTreeSet<StorePath>,
    },
    /// Send the NAR of this. If it is not valid the server closes the
    /// connection.
    DumpStorePath {
        /// The path to send.
        path: StorePath,
    },
    /// Take the export stream that follows.
    ImportPaths,
    /// Realise these.
    BuildPaths {
        /// Store paths, or derivations with outputs, `path!out,dev`.
        paths: Vec<String>,
        /// How to run what is built.
        options: BuildOptions,
    },
    /// What do these need, themselves included?
    QueryClosure {
        /// Whether to follow derivations to their outputs too.
        include_outputs: bool,
        /// Where to begin.
        paths: BTreeSet<StorePath>,
    },
    /// Build this derivation, whose inputs are valid.
    BuildDerivation {
        /// The path it has, or would have.
        drv_path: StorePath,
        /// The derivation itself.
        derivation: BasicDerivation,
        /// How to run it.
        options: BuildOptions,
    },
    /// Take the NAR that follows, of exactly `info.nar_size` bytes.
    AddToStoreNar {
        /// What the NAR is.
        info: PathInfo,
    },
}

impl Request {
    /// Its kind.
    pub fn command(&self) -> Command {
        match self {
            Self::QueryValidPaths { .. } => Command::QueryValidPaths,
            Self::QueryPathInfos { .. } => Command::QueryPathInfos,
            Self::DumpStorePath { .. } => Command::DumpStorePath,
            Self::ImportPaths => Command::ImportPaths,
            Self::BuildPaths { .. } => Command::BuildPaths,
            Self::QueryClosure { .. } => Command::QueryClosure,
            Self::BuildDerivation { .. } => Command::BuildDerivation,
            Self::AddToStoreNar { .. } => Command::AddToStoreNar,
        }
    }

    /// What follows it, if anything.
    pub(super) fn body(&self) -> Option<BodyKind> {
        match self {
            Self::AddToStoreNar { info } => Some(BodyKind::Nar {
                size: info.nar_size,
            }),
            Self::ImportPaths => Some(BodyKind::Export),
            Self::QueryValidPaths { .. }
            | Self::QueryPathInfos { .. }
            | Self::DumpStorePath { .. }
            | Self::BuildPaths { .. }
            | Self::QueryClosure { .. }
            | Self::BuildDerivation { .. } => None,
        }
    }

    /// Reads a request as `version` has it, without its body.
    pub async fn decode(d: &mut Decoder, version: Version) -> Result<Self, DecodeError> {
        d.begin_message();
        Ok(match Command::decode(d).await? {
            Command::QueryValidPaths => Self::QueryValidPaths {
                lock: d.bool("lock").await?,
                substitute: d.bool("substitute").await?,
                paths: d.paths("paths").await?,
            },
            Command::QueryPathInfos => Self::QueryPathInfos {
                paths: d.paths("paths").await?,
            },
            Command::DumpStorePath => Self::DumpStorePath {
                path: d.path("path").await?,
            },
            Command::ImportPaths => Self::ImportPaths,
            Command::BuildPaths => Self::BuildPaths {
                paths: d.strings("paths to build").await?,
                options: BuildOptions::decode(d, version).await?,
            },
            Command::QueryClosure => Self::QueryClosure {
                include_outputs: d.bool("include outputs").await?,
                paths: d.paths("paths").await?,
            },
            Command::BuildDerivation => Self::BuildDerivation {
                drv_path: d.path("derivation path").await?,
                derivation: d.basic_derivation().await?,
                options: BuildOptions::decode(d, version).await?,
            },
            Command::AddToStoreNar => Self::AddToStoreNar {
                info: path_info::decode_added(d).await?,
            },
        })
    }

    /// Writes the request as `version` has it, without its body.
    pub fn encode(&self, e: &mut Encoder, version: Version) {
        e.u64(self.command() as u64);
        match self {
            Self::QueryValidPaths {
                lock,
                substitute,
                paths,
            } => {
                e.bool(*lock);
                e.bool(*substitute);
                e.paths(paths);
            }
            Self::QueryPathInfos { paths } => e.paths(paths),
            Self::DumpStorePath { path } => e.path(path),
            Self::ImportPaths => {}
            Self::BuildPaths { paths, options } => {
                e.strings(paths);
                options.encode(e, version);
            }
            Self::QueryClosure {
                include_outputs,
                paths,
            } => {
                e.bool(*include_outputs);
                e.paths(paths);
            }
            Self::BuildDerivation {
                drv_path,
                derivation,
                options,
            } => {
                e.path(drv_path);
                e.basic_derivation(derivation);
                options.encode(e, version);
            }
            Self::AddToStoreNar { info } => path_info::encode_added(info, e),
        }
    }
}
