//! Reads answers.

use std::collections::{BTreeMap, BTreeSet};

use super::encode::is_silent;
use super::{Missing, Response, Root, Substitutable};
use crate::types::{BuiltOutput, Text};
use crate::wire::{DecodeError, Decoder};
use crate::worker::op::Op;
use crate::worker::request::{Asked, Subject};
use crate::worker::version::Dialect;
use crate::worker::{Feature, build_result, derived_path, path_info};

impl Response {
    /// Reads the answer to what was asked, without a NAR that follows.
    pub async fn decode(
        asked: &Asked,
        dialect: &Dialect,
        from: &mut Decoder,
    ) -> Result<Self, DecodeError> {
        Ok(match asked.op {
            op if is_silent(op) => Self::Unit,
            Op::BuildPaths
            | Op::EnsurePath
            | Op::AddTempRoot
            | Op::AddIndirectRoot
            | Op::SyncWithGc
            | Op::OptimiseStore
            | Op::AddSignatures
            | Op::AddBuildLog
            | Op::SubmitOutput
            | Op::SetOptions
            | Op::AddToStoreNar
            | Op::AddMultipleToStore
            | Op::RegisterDrvOutput => {
                from.u64("success").await?;
                Self::Unit
            }
            Op::IsValidPath => Self::Bool(from.bool("validity").await?),
            Op::VerifyStore => Self::Bool(from.bool("errors found").await?),
            Op::AddToStore if dialect.has(25) => Self::Added(path_info::decode(from).await?),
            Op::AddToStoreScanning => Self::Added(path_info::decode(from).await?),
            Op::AddToStore | Op::AddTextToStore => Self::Path(from.path("added path").await?),
            Op::QueryDeriver | Op::QueryPathFromHashPart => {
                Self::OptionalPath(from.optional_path("path").await?)
            }
            Op::QueryReferrers
            | Op::QueryDerivationOutputs
            | Op::QueryAllValidPaths
            | Op::QueryValidPaths
            | Op::QuerySubstitutablePaths
            | Op::QueryValidDerivers => Self::Paths(from.paths("paths").await?),
            Op::QueryDerivationOutputNames => Self::Names(from.strings("output names").await?),
            Op::QueryDerivationOutputMap => Self::OutputMap(output_map(from).await?),
            Op::QueryPathInfo => path_info(&asked.subject, from).await?,
            Op::FindRoots => Self::Roots(roots(from).await?),
            Op::CollectGarbage => garbage(from).await?,
            Op::QuerySubstitutablePathInfo => {
                Self::SubstitutablePath(if presence("substitutable", from).await? {
                    Some(substitutable(from).await?)
                } else {
                    None
                })
            }
            Op::QuerySubstitutablePathInfos => {
                let mut infos = BTreeMap::new();
                for _ in 0..from.count("substitutable paths").await? {
                    let path = from.path("substitutable path").await?;
                    infos.insert(path, substitutable(from).await?);
                }
                Self::SubstitutablePaths(infos)
            }
            Op::BuildDerivation => Self::BuildResult(build_result::decode(dialect, from).await?),
            Op::BuildPathsWithResults => {
                let mut results = Vec::new();
                for _ in 0..from.count("build results").await? {
                    let path = derived_path::decode(dialect, from).await?;
                    results.push((path, build_result::decode(dialect, from).await?));
                }
                Self::KeyedBuildResults(results)
            }
            Op::QueryMissing => Self::Missing(missing(from).await?),
            Op::QueryRealisation => {
                Self::Realisation(realisation(&asked.subject, dialect, from).await?)
            }
            Op::AddPermRoot => Self::Link(from.short_bytes("link").await.map(Text::from)?),
            Op::NarFromPath => Self::Nar,
        })
    }
}

/// Reads a 0 for nothing, or a 1 for one of what follows.
async fn presence(field: &'static str, from: &mut Decoder) -> Result<bool, DecodeError> {
    let offset = from.offset();
    match from.u64(field).await? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(from.error(field, offset, "0 or 1", other.to_string())),
    }
}

async fn output_map(
    from: &mut Decoder,
) -> Result<BTreeMap<String, Option<nix_derivation::StorePath>>, DecodeError> {
    let mut outputs = BTreeMap::new();
    for _ in 0..from.count("outputs").await? {
        let name = from.short("output name").await?;
        outputs.insert(name, from.optional_path("output path").await?);
    }
    Ok(outputs)
}

async fn path_info(subject: &Subject, from: &mut Decoder) -> Result<Response, DecodeError> {
    if !presence("validity", from).await? {
        return Ok(Response::PathInfo(None));
    }
    let Subject::Path(path) = subject else {
        unreachable!("bug: the path asked for was forgotten")
    };
    let info = path_info::decode_unkeyed(path.clone(), from).await?;
    Ok(Response::PathInfo(Some(info)))
}

async fn roots(from: &mut Decoder) -> Result<Vec<Root>, DecodeError> {
    let mut roots = Vec::new();
    for _ in 0..from.count("roots").await? {
        roots.push(Root {
            link: from.short_bytes("link of a root").await.map(Text::from)?,
            target: from.path("target of a root").await?,
        });
    }
    Ok(roots)
}

async fn garbage(from: &mut Decoder) -> Result<Response, DecodeError> {
    let mut paths = BTreeSet::new();
    for _ in 0..from.count("garbage").await? {
        paths.insert(Text::from(from.short_bytes("garbage path").await?));
    }
    let bytes_freed = from.u64("bytes freed").await?;
    from.u64("obsolete garbage result").await?;
    Ok(Response::Garbage { paths, bytes_freed })
}

async fn substitutable(from: &mut Decoder) -> Result<Substitutable, DecodeError> {
    Ok(Substitutable {
        deriver: from.optional_path("deriver").await?,
        references: from.paths("references").await?,
        download_size: from.u64("download size").await?,
        nar_size: from.u64("NAR size").await?,
    })
}

async fn missing(from: &mut Decoder) -> Result<Missing, DecodeError> {
    Ok(Missing {
        will_build: from.paths("derivations to build").await?,
        will_substitute: from.paths("paths to substitute").await?,
        unknown: from.paths("unknown paths").await?,
        download_size: from.u64("download size").await?,
        nar_size: from.u64("NAR size").await?,
    })
}

async fn realisation(
    subject: &Subject,
    dialect: &Dialect,
    from: &mut Decoder,
) -> Result<Option<BuiltOutput>, DecodeError> {
    if !presence("realisations", from).await? {
        return Ok(None);
    }
    if dialect.offers(Feature::RealisationWithPath) {
        return from.built_output().await.map(Some);
    }
    if dialect.has(31) {
        let (_, output) = from.realisation_json("realisation").await?;
        return Ok(Some(output));
    }
    let Subject::Output(id) = subject else {
        unreachable!("bug: the output asked for was forgotten")
    };
    Ok(Some(BuiltOutput {
        drv_hash: id.drv_hash().map(str::to_owned),
        path: from.path("output path").await?,
        signatures: BTreeSet::new(),
        dependent_realisations: BTreeMap::new(),
    }))
}
