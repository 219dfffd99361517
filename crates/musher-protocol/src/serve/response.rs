//! What a server answers. Which answer the bytes are follows from the request
//! alone.

use std::collections::BTreeSet;
use std::num::NonZeroU64;

use nix_derivation::StorePath;

use super::{Command, Version, build_result, path_info};
use crate::types::{BuildResult, PathInfo, Text};
use crate::wire::{DecodeError, Decoder, Encoder};

/// Why `BuildPaths` could not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildFailure {
    /// The server's exit status for this failure: 1, or 100 and more. Clients
    /// read it as a build status, in which 1, 2 and 13 would be successes and
    /// the message garbage; a server had better not send those.
    pub status: NonZeroU64,
    /// What went wrong.
    pub message: Text,
}

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// To `QueryValidPaths`: the valid ones.
    ValidPaths(BTreeSet<StorePath>),
    /// To `QueryPathInfos`: the valid ones. They say neither when a path was
    /// registered nor whether it is ultimate.
    PathInfos(Vec<PathInfo>),
    /// To `DumpStorePath`. A server's NAR follows this; a client learns of this
    /// when the NAR was whole.
    Nar,
    /// To `ImportPaths`: whether it was taken.
    Imported(bool),
    /// To `BuildPaths`.
    PathsBuilt(Result<(), BuildFailure>),
    /// To `QueryClosure`.
    Closure(BTreeSet<StorePath>),
    /// To `BuildDerivation`.
    Built(BuildResult),
    /// To `AddToStoreNar`: whether it was taken.
    Added(bool),
}

impl Response {
    /// The kind of request that this answers.
    pub fn command(&self) -> Command {
        match self {
            Self::ValidPaths(_) => Command::QueryValidPaths,
            Self::PathInfos(_) => Command::QueryPathInfos,
            Self::Nar => Command::DumpStorePath,
            Self::Imported(_) => Command::ImportPaths,
            Self::PathsBuilt(_) => Command::BuildPaths,
            Self::Closure(_) => Command::QueryClosure,
            Self::Built(_) => Command::BuildDerivation,
            Self::Added(_) => Command::AddToStoreNar,
        }
    }

    /// Reads the answer to `command` as `version` has it. The NAR of
    /// `DumpStorePath` is read before and elsewhere.
    pub async fn decode(
        d: &mut Decoder,
        version: Version,
        command: Command,
    ) -> Result<Self, DecodeError> {
        d.begin_message();
        Ok(match command {
            Command::QueryValidPaths => Self::ValidPaths(d.paths("valid paths").await?),
            Command::QueryPathInfos => Self::PathInfos(decode_infos(d, version).await?),
            Command::DumpStorePath => Self::Nar,
            Command::ImportPaths => Self::Imported(d.u64("import status").await? == 1),
            Command::BuildPaths => Self::PathsBuilt(decode_outcome(d).await?),
            Command::QueryClosure => Self::Closure(d.paths("closure").await?),
            Command::BuildDerivation => Self::Built(build_result::decode(d, version).await?),
            Command::AddToStoreNar => Self::Added(d.u64("add status").await? == 1),
        })
    }

    /// Writes the answer as `version` has it.
    pub fn encode(&self, e: &mut Encoder, version: Version) {
        match self {
            Self::ValidPaths(paths) | Self::Closure(paths) => e.paths(paths),
            Self::PathInfos(infos) => {
                for info in infos {
                    e.path(&info.path);
                    path_info::encode_unkeyed(info, e, version);
                }
                e.string("");
            }
            Self::Nar => {}
            Self::Imported(taken) | Self::Added(taken) => e.bool(*taken),
            Self::PathsBuilt(Ok(())) => e.u64(0),
            Self::PathsBuilt(Err(failure)) => {
                e.u64(failure.status.get());
                e.bytes(failure.message.as_bytes());
            }
            Self::Built(result) => build_result::encode(result, e, version),
        }
    }
}

async fn decode_infos(d: &mut Decoder, version: Version) -> Result<Vec<PathInfo>, DecodeError> {
    // No count comes first: the message's budget ends an endless list.
    let mut infos = Vec::new();
    while let Some(path) = d.optional_path("path").await? {
        infos.push(path_info::decode_unkeyed(d, version, path).await?);
    }
    Ok(infos)
}

async fn decode_outcome(d: &mut Decoder) -> Result<Result<(), BuildFailure>, DecodeError> {
    let status = d.u64("build status").await?;
    let Some(status) = NonZeroU64::new(status) else {
        return Ok(Ok(()));
    };
    let message = d.text("build error").await?;
    Ok(Err(BuildFailure { status, message }))
}
