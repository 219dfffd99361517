//! Who answers which request, and how failures are told. Blocks on the disk.

use std::error::Error;

use musher_protocol::worker::{Message, RemoteError, Request, Response};

use super::additions::{self, Manner};
use super::body::Body;
use super::rooted::Rooted;
use super::{derivations, housekeeping, logs, missing, questions, root_links, sources};
use crate::local::LocalError;

/// What comes of a request.
pub(super) type Answer = Result<Response, RemoteError>;

/// Where messages go that come before the answer.
pub(super) type Say<'a> = dyn FnMut(Message) + 'a;

/// Answers a request that has no body.
pub(super) fn answer(store: &Rooted, request: Request, say: &mut Say<'_>) -> Answer {
    match request {
        Request::IsValidPath(path) => questions::is_valid(store, &path),
        Request::QueryReferrers(path) => questions::referrers(store, &path),
        Request::QueryDeriver(path) => questions::deriver(store, &path),
        Request::QueryValidDerivers(path) => questions::valid_derivers(store, &path),
        Request::QueryAllValidPaths => questions::all_valid(store),
        Request::QueryPathInfo(path) => questions::path_info(store, &path),
        Request::QueryPathFromHashPart(hash) => questions::from_hash_part(store, &hash),
        // There are no substituters here, so what is not there cannot be had.
        Request::QueryValidPaths { paths, .. } => questions::valid_paths(store, &paths),
        Request::EnsurePath(path) => questions::ensure(store, &path),
        Request::QuerySubstitutablePathInfo(_) => Ok(Response::SubstitutablePath(None)),
        Request::QuerySubstitutablePathInfos(_) => {
            Ok(Response::SubstitutablePaths(Default::default()))
        }
        Request::QuerySubstitutablePaths(_) => Ok(Response::Paths(Default::default())),
        Request::QueryRealisation(id) => questions::realisation(store, &id),
        Request::QueryDerivationOutputs(path) => derivations::paths(store, &path),
        Request::QueryDerivationOutputNames(path) => derivations::names(store, &path),
        Request::QueryDerivationOutputMap(path) => derivations::map(store, &path),
        Request::QueryMissing(wanted) => missing::missing(store, &wanted).map(Response::Missing),
        Request::BuildPaths { paths, mode } => missing::build(store, &paths, mode),
        Request::BuildPathsWithResults { paths, mode } => {
            missing::build_with_results(store, &paths, mode)
        }
        Request::BuildDerivation { drv_path, .. } => Err(missing::no_builder(store, &drv_path)),
        Request::AddTextToStore {
            name,
            text,
            references,
        } => sources::add_text(store, &name, &text, &references),
        Request::AddTempRoot(path) => {
            store.keep([&path]).map_err(failed)?;
            Ok(Response::Unit)
        }
        Request::AddIndirectRoot(link) => root_links::indirect(store, &link),
        Request::AddPermRoot { path, link } => root_links::permanent(store, &path, link),
        Request::FindRoots => housekeeping::find_roots(store),
        Request::CollectGarbage(run) => housekeeping::collect_garbage(store, &run),
        Request::OptimiseStore => housekeeping::optimise(store),
        Request::VerifyStore { check_contents, .. } => {
            housekeeping::verify(store, check_contents, say)
        }
        Request::AddSignatures { path, signatures } => {
            housekeeping::sign(store, &path, &signatures)
        }
        Request::RegisterDrvOutput(realisation) => housekeeping::realise(store, &realisation),
        // Settings are for builds and substituters, which others look after.
        Request::SetOptions(_) | Request::SyncWithGc => Ok(Response::Unit),
        Request::SubmitOutput { .. } => Err(RemoteError::new("no build runs here")),
        Request::AddToStore { .. }
        | Request::AddNarToStore { .. }
        | Request::AddToStoreNar { .. }
        | Request::AddMultipleToStore { .. }
        | Request::AddToStoreScanning { .. }
        | Request::AddBuildLog { .. }
        | Request::NarFromPath(_) => Err(RemoteError::new("bug: a request without its body")),
    }
}

/// Answers a request that has a body.
pub(super) fn take(store: &Rooted, request: Request, mut body: Body) -> Answer {
    if let Request::AddToStoreNar {
        info,
        repair,
        dont_check_sigs,
    } = request
    {
        let manner = Manner {
            repair,
            dont_check_sigs,
        };
        additions::one(store, &info, manner, &mut body)
    } else if let Request::AddMultipleToStore {
        repair,
        dont_check_sigs,
        ..
    } = request
    {
        let manner = Manner {
            repair,
            dont_check_sigs,
        };
        additions::many(store, manner, &mut body)
    } else if let Request::AddToStore {
        name,
        method,
        references,
        repair,
    } = request
    {
        sources::add(store, &name, &method, &references, repair, &mut body)
    } else if let Request::AddNarToStore {
        name,
        recursive,
        algorithm,
    } = request
    {
        sources::add_nar(store, &name, recursive, &algorithm, &mut body)
    } else if let Request::AddBuildLog { drv_path } = request {
        logs::add(store, &drv_path, &mut body)
    } else {
        Err(RemoteError::new("no build runs here"))
    }
}

/// What went wrong in the store, for the client.
#[expect(clippy::needless_pass_by_value, reason = "as `map_err` wants it")]
pub(super) fn failed(error: LocalError) -> RemoteError {
    told(&error, error.help())
}

/// An error for the client, with its causes and with advice.
pub(super) fn told(error: &dyn Error, help: Option<String>) -> RemoteError {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    RemoteError::new(match help {
        Some(help) => format!("{text}; {help}"),
        None => text,
    })
}
