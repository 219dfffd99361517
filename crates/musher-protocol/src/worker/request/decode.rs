//! Reads requests.

use std::collections::{BTreeMap, BTreeSet};

use nix_derivation::{DrvOutput, StorePath};

use super::{OutputId, Realisation, Request};
use crate::types::{BuildMode, DrvHashOutput, Text};
use crate::wire::{DecodeError, Decoder};
use crate::worker::garbage::GarbageRun;
use crate::worker::op::Op;
use crate::worker::options::Options;
use crate::worker::version::Dialect;
use crate::worker::{Feature, derived_path, path_info};

impl Request {
    /// Reads a request up to its body. The count of paths of
    /// `AddMultipleToStore` is the first thing in the body, and 0 here.
    pub async fn decode(dialect: &Dialect, from: &mut Decoder) -> Result<Self, DecodeError> {
        let op = op(dialect, from).await?;
        decode_arguments(op, dialect, from).await
    }
}

async fn op(dialect: &Dialect, from: &mut Decoder) -> Result<Op, DecodeError> {
    const FIELD: &str = "operation";
    let offset = from.offset();
    let number = from.u64(FIELD).await?;
    let known = Op::from_number(number).filter(|op| {
        op.since().is_none_or(|minor| dialect.has(minor))
            && op.feature().is_none_or(|feature| dialect.offers(feature))
    });
    known.ok_or_else(|| {
        let expected = format!("an operation of version {}", dialect.version);
        from.error(FIELD, offset, expected, number.to_string())
    })
}

async fn decode_arguments(
    op: Op,
    dialect: &Dialect,
    from: &mut Decoder,
) -> Result<Request, DecodeError> {
    Ok(match op {
        Op::IsValidPath => Request::IsValidPath(path(from).await?),
        Op::QueryReferrers => Request::QueryReferrers(path(from).await?),
        Op::AddToStore if dialect.has(25) => Request::AddToStore {
            name: from.short("name").await?,
            method: from.short("content address method").await?,
            references: from.paths("references").await?,
            repair: from.bool("repair").await?,
        },
        Op::AddToStore => add_nar_to_store(from).await?,
        Op::AddTextToStore => Request::AddTextToStore {
            name: from.short("name").await?,
            text: from.text("text").await?,
            references: from.paths("references").await?,
        },
        Op::BuildPaths => Request::BuildPaths {
            paths: derived_path::decode_all(dialect, from).await?,
            mode: build_mode(from).await?,
        },
        Op::EnsurePath => Request::EnsurePath(path(from).await?),
        Op::AddTempRoot => Request::AddTempRoot(path(from).await?),
        Op::AddIndirectRoot => Request::AddIndirectRoot(link(from).await?),
        Op::SyncWithGc => Request::SyncWithGc,
        Op::FindRoots => Request::FindRoots,
        Op::QueryDeriver => Request::QueryDeriver(path(from).await?),
        Op::SetOptions => Request::SetOptions(Options::decode(from).await?),
        Op::CollectGarbage => Request::CollectGarbage(GarbageRun::decode(dialect, from).await?),
        Op::QuerySubstitutablePathInfo => Request::QuerySubstitutablePathInfo(path(from).await?),
        Op::QueryDerivationOutputs => Request::QueryDerivationOutputs(path(from).await?),
        Op::QueryAllValidPaths => Request::QueryAllValidPaths,
        Op::QueryPathInfo => Request::QueryPathInfo(path(from).await?),
        Op::QueryDerivationOutputNames => Request::QueryDerivationOutputNames(path(from).await?),
        Op::QueryPathFromHashPart => Request::QueryPathFromHashPart(from.short("hash part").await?),
        Op::QuerySubstitutablePathInfos => {
            Request::QuerySubstitutablePathInfos(substitutable(dialect, from).await?)
        }
        Op::QueryValidPaths => Request::QueryValidPaths {
            paths: from.paths("paths").await?,
            substitute: dialect.has(27) && from.bool("substitute").await?,
        },
        Op::QuerySubstitutablePaths => Request::QuerySubstitutablePaths(from.paths("paths").await?),
        Op::QueryValidDerivers => Request::QueryValidDerivers(path(from).await?),
        Op::OptimiseStore => Request::OptimiseStore,
        Op::VerifyStore => Request::VerifyStore {
            check_contents: from.bool("check contents").await?,
            repair: from.bool("repair").await?,
        },
        Op::BuildDerivation => Request::BuildDerivation {
            drv_path: from.path("derivation").await?,
            derivation: from.basic_derivation().await?,
            mode: build_mode(from).await?,
        },
        Op::AddSignatures => Request::AddSignatures {
            path: path(from).await?,
            signatures: from.strings("signatures").await?,
        },
        Op::NarFromPath => Request::NarFromPath(path(from).await?),
        Op::AddToStoreNar => Request::AddToStoreNar {
            info: path_info::decode(from).await?,
            repair: from.bool("repair").await?,
            dont_check_sigs: from.bool("do not check signatures").await?,
        },
        Op::QueryMissing => Request::QueryMissing(derived_path::decode_all(dialect, from).await?),
        Op::QueryDerivationOutputMap => Request::QueryDerivationOutputMap(path(from).await?),
        Op::RegisterDrvOutput => Request::RegisterDrvOutput(realisation(dialect, from).await?),
        Op::QueryRealisation => Request::QueryRealisation(output_id(dialect, from).await?),
        Op::AddMultipleToStore => add_multiple_to_store(from).await?,
        Op::AddBuildLog => Request::AddBuildLog {
            drv_path: base_name(from, "derivation").await?,
        },
        Op::BuildPathsWithResults => Request::BuildPathsWithResults {
            paths: derived_path::decode_all(dialect, from).await?,
            mode: build_mode(from).await?,
        },
        Op::AddPermRoot => Request::AddPermRoot {
            path: path(from).await?,
            link: link(from).await?,
        },
        Op::SubmitOutput => Request::SubmitOutput {
            path: derived_path::decode_single(from).await?,
            output: from.short("output name").await?,
        },
        Op::AddToStoreScanning => Request::AddToStoreScanning {
            name: from.short("name").await?,
            method: from.short("content address method").await?,
        },
    })
}

async fn path(from: &mut Decoder) -> Result<StorePath, DecodeError> {
    from.path("path").await
}

async fn link(from: &mut Decoder) -> Result<Text, DecodeError> {
    from.short_bytes("link").await.map(Text::from)
}

async fn base_name(from: &mut Decoder, field: &'static str) -> Result<StorePath, DecodeError> {
    let offset = from.offset();
    let name = from.short_bytes(field).await?;
    StorePath::from_basename(&name).map_err(|error| {
        let found = format!("`{}` ({error})", name.escape_ascii());
        from.error(field, offset, "the base name of a store path", found)
    })
}

async fn build_mode(from: &mut Decoder) -> Result<BuildMode, DecodeError> {
    const FIELD: &str = "build mode";
    let offset = from.offset();
    match from.u64(FIELD).await? {
        0 => Ok(BuildMode::Normal),
        1 => Ok(BuildMode::Repair),
        2 => Ok(BuildMode::Check),
        other => Err(from.error(FIELD, offset, "a number from 0 to 2", other.to_string())),
    }
}

async fn add_nar_to_store(from: &mut Decoder) -> Result<Request, DecodeError> {
    let name = from.short("name").await?;
    let fixed = from.bool("fixed").await?;
    let recursive = from.bool("recursive").await?;
    let algorithm = from.short("hash algorithm").await?;
    Ok(if fixed {
        Request::AddNarToStore {
            name,
            recursive,
            algorithm,
        }
    } else {
        Request::AddNarToStore {
            name,
            recursive: true,
            algorithm: "sha256".to_owned(),
        }
    })
}

async fn add_multiple_to_store(from: &mut Decoder) -> Result<Request, DecodeError> {
    Ok(Request::AddMultipleToStore {
        repair: from.bool("repair").await?,
        dont_check_sigs: from.bool("do not check signatures").await?,
        count: 0,
    })
}

async fn substitutable(
    dialect: &Dialect,
    from: &mut Decoder,
) -> Result<BTreeMap<StorePath, Option<nix_derivation::CAHash>>, DecodeError> {
    if !dialect.has(22) {
        let paths: BTreeSet<_> = from.paths("paths").await?;
        return Ok(paths.into_iter().map(|path| (path, None)).collect());
    }
    let mut paths = BTreeMap::new();
    for _ in 0..from.count("paths").await? {
        let path = path(from).await?;
        let ca = from.optional_content_address("content address").await?;
        paths.insert(path, ca);
    }
    Ok(paths)
}

async fn output_id(dialect: &Dialect, from: &mut Decoder) -> Result<OutputId, DecodeError> {
    if dialect.offers(Feature::RealisationWithPath) {
        let drv_path = from.path("derivation").await?;
        let output = from.short("output name").await?;
        return Ok(OutputId::Path(DrvOutput::new(drv_path, output)));
    }
    from.drv_hash_output("output").await.map(OutputId::Hash)
}

async fn realisation(dialect: &Dialect, from: &mut Decoder) -> Result<Realisation, DecodeError> {
    if dialect.offers(Feature::RealisationWithPath) {
        let id = output_id(dialect, from).await?;
        return Ok(Realisation::new(id, from.built_output().await?));
    }
    if dialect.has(31) {
        let (id, output) = from.realisation_json("realisation").await?;
        return Ok(Realisation::new(OutputId::Hash(id), output));
    }
    let id: DrvHashOutput = from.drv_hash_output("output").await?;
    Ok(Realisation {
        id: OutputId::Hash(id),
        path: base_name(from, "output path").await?,
        signatures: BTreeSet::new(),
        dependent_realisations: BTreeMap::new(),
    })
}
