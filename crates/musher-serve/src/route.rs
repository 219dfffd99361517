//! Who answers a request: a function of the request, of the client's rights
//! and of what this session has built. Asks nobody.

use std::collections::BTreeSet;

use musher_protocol::types::{BasicDerivation, BuildMode};
use musher_protocol::worker::{Options, RemoteError, Request, Response};
use musher_store::own_drv_path;
use nix_derivation::{DerivedPath, StoreDir, StorePath};

use crate::outputs::Outputs;
use crate::restrain::{may_build, restrain};
use crate::session::Tell;

/// What the client may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rights {
    /// Whether its word is taken for what a derivation's outputs are.
    pub(crate) trusted: bool,
    /// Whether the home store trusts this process more than the client is to
    /// be trusted.
    pub(crate) restrained: bool,
    /// Whether paths it finds valid are to be kept for it, since it has no
    /// roots on this host.
    pub(crate) rooted: bool,
    /// Whether the home store is Musher's own, for which nobody but the
    /// coordinator builds.
    pub(crate) own_home: bool,
    /// Whether the home store is the client's own.
    pub(crate) store_entrance: bool,
}

/// Who answers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Route {
    /// Nobody: it is not allowed.
    Refuse(RemoteError),
    /// This session, with what it knows.
    Answer(Response),
    /// The home store.
    Home(Request),
    /// The home store, with a NAR.
    HomeNar(StorePath),
    /// The home store, and this session has to know too.
    Options(Options),
    /// The home store for some, this session for others.
    ValidPaths {
        /// Those to ask the home store for.
        ask: BTreeSet<StorePath>,
        /// Those that are known to be valid.
        known: BTreeSet<StorePath>,
        /// Whether the home store may fetch the others.
        substitute: bool,
    },
    /// The coordinator: a build.
    Build {
        /// Where the derivation is, or would be.
        drv_path: StorePath,
        /// The derivation.
        derivation: Box<BasicDerivation>,
        /// What to do about outputs that exist.
        mode: BuildMode,
    },
    /// The coordinator: what is missing of these.
    Realise {
        /// What is wanted.
        wanted: Vec<DerivedPath>,
        /// What to do about outputs that exist.
        mode: BuildMode,
        /// What the client wants to hear of it.
        tell: Tell,
    },
    /// The coordinator: an output of one of this session's builds.
    Nar(StorePath),
}

/// Who answers `request`.
pub(crate) fn route(
    request: Request,
    rights: Rights,
    outputs: &Outputs,
    store_dir: &StoreDir,
) -> Route {
    if let Request::BuildDerivation {
        drv_path,
        derivation,
        mode,
    } = request
    {
        return build(drv_path, derivation, mode, rights, store_dir);
    }
    if let Some(known) = known(&request, rights, outputs) {
        return known;
    }
    let request = match rights.restrained {
        true => match restrain(request) {
            Ok(request) => request,
            Err(error) => return Route::Refuse(error),
        },
        false => request,
    };
    if (rights.own_home || rights.store_entrance)
        && let Some(route) = planned(&request)
    {
        return route;
    }
    if let Request::RegisterDrvOutput(_) = request
        && rights.own_home
        && rights.restrained
    {
        // It takes what it is given, where a nix-daemon wants a signature.
        let text = "you are not privileged to say what derivations come to";
        return Route::Refuse(RemoteError::new(text));
    }
    if let Request::SetOptions(options) = request {
        Route::Options(options)
    } else if let Request::NarFromPath(path) = request {
        Route::HomeNar(path)
    } else {
        Route::Home(request)
    }
}

/// What the coordinator plans as one graph.
fn planned(request: &Request) -> Option<Route> {
    if let Request::BuildPaths { paths, mode } = request {
        return Some(Route::Realise {
            wanted: paths.clone(),
            mode: *mode,
            tell: Tell::Success,
        });
    }
    if let Request::BuildPathsWithResults { paths, mode } = request {
        return Some(Route::Realise {
            wanted: paths.clone(),
            mode: *mode,
            tell: Tell::Results,
        });
    }
    None
}

fn build(
    drv_path: StorePath,
    derivation: BasicDerivation,
    mode: BuildMode,
    rights: Rights,
    store_dir: &StoreDir,
) -> Route {
    let own_path = match rights.trusted {
        true => Ok(drv_path),
        false => may_build(mode).and_then(|()| own_drv_path(store_dir, &drv_path, &derivation)),
    };
    match own_path {
        Ok(drv_path) => Route::Build {
            drv_path,
            derivation: Box::new(derivation),
            mode,
        },
        Err(error) => Route::Refuse(error),
    }
}

/// What this session can answer, at least in part.
fn known(request: &Request, rights: Rights, outputs: &Outputs) -> Option<Route> {
    if let Request::QueryValidPaths { paths, substitute } = request {
        let known = outputs.among(paths);
        let ask = paths.difference(&known).cloned().collect();
        return Some(Route::ValidPaths {
            ask,
            known,
            // The build hook asks under a lock: all others would wait.
            substitute: *substitute && rights.store_entrance,
        });
    }
    if let Request::IsValidPath(path) = request {
        outputs.info(path)?;
        return Some(Route::Answer(Response::Bool(true)));
    }
    if let Request::QueryPathInfo(path) = request {
        let info = outputs.info(path)?.clone();
        return Some(Route::Answer(Response::PathInfo(Some(info))));
    }
    if let Request::NarFromPath(path) = request {
        outputs.info(path)?;
        return Some(Route::Nar(path.clone()));
    }
    if let Request::QueryRealisation(id) = request {
        let output = outputs.realisation(id)?.clone();
        return Some(Route::Answer(Response::Realisation(Some(output))));
    }
    if let Request::RegisterDrvOutput(realisation) = request {
        // The home store need not learn of what is not in it.
        let known = outputs.realisation(&realisation.id)?;
        let same = known.path == realisation.path;
        return same.then_some(Route::Answer(Response::Unit));
    }
    None
}
