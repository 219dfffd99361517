//! What is left of a value once a dialect has carried it.

use std::collections::{BTreeMap, BTreeSet};

use musher_protocol::types::{BuildResult, BuiltOutput};
use musher_protocol::worker::{
    Dialect, Feature, OutputId, Realisation, RemoteError, Request, Response, ServerInfo,
};

/// A request without its body. The number of paths is in the body.
pub(crate) fn request(mut request: Request, dialect: &Dialect) -> Request {
    if let Request::AddMultipleToStore { count, .. } = &mut request {
        *count = 0;
    }
    if let Request::QueryValidPaths { substitute, .. } = &mut request {
        *substitute &= dialect.has(27);
    }
    if let Request::QuerySubstitutablePathInfos(paths) = &mut request
        && !dialect.has(22)
    {
        paths.values_mut().for_each(|ca| *ca = None);
    }
    if let Request::RegisterDrvOutput(realisation) = &mut request {
        lose_in_realisation(realisation, dialect);
    }
    request
}

fn lose_in_realisation(realisation: &mut Realisation, dialect: &Dialect) {
    let by_path = dialect.offers(Feature::RealisationWithPath);
    if by_path || !dialect.has(31) {
        realisation.dependent_realisations.clear();
    }
    if !by_path && !dialect.has(31) {
        realisation.signatures.clear();
    }
}

/// The answer to `asked`.
pub(crate) fn response(response: Response, asked: &Request, dialect: &Dialect) -> Response {
    match (response, asked) {
        (Response::PathInfo(Some(mut info)), Request::QueryPathInfo(path)) => {
            info.path = path.clone();
            Response::PathInfo(Some(info))
        }
        (Response::BuildResult(result), _) => Response::BuildResult(build_result(result, dialect)),
        (Response::KeyedBuildResults(results), _) => Response::KeyedBuildResults(
            results
                .into_iter()
                .map(|(path, result)| (path, build_result(result, dialect)))
                .collect(),
        ),
        (Response::Realisation(Some(output)), Request::QueryRealisation(id)) => {
            Response::Realisation(Some(realised(output, id, dialect)))
        }
        (response, _) => response,
    }
}

fn realised(mut output: BuiltOutput, id: &OutputId, dialect: &Dialect) -> BuiltOutput {
    let drv_hash = id.drv_hash().map(str::to_owned);
    if dialect.offers(Feature::RealisationWithPath) {
        output.drv_hash = None;
        output.dependent_realisations.clear();
    } else if dialect.has(31) {
        output.drv_hash = output.drv_hash.or(drv_hash);
    } else {
        output.drv_hash = drv_hash;
        output.signatures.clear();
        output.dependent_realisations.clear();
    }
    output
}

/// How a build ended.
fn build_result(result: BuildResult, dialect: &Dialect) -> BuildResult {
    let mut carried = BuildResult::new(result.status, result.error);
    if dialect.has(29) {
        carried.times_built = result.times_built;
        carried.non_deterministic = result.non_deterministic;
        carried.start = result.start;
        carried.stop = result.stop;
    }
    if dialect.has(37) {
        carried.cpu_user = result.cpu_user;
        carried.cpu_system = result.cpu_system;
    }
    carried.built_outputs = if dialect.offers(Feature::RealisationWithPath) {
        let by_path = |(name, output)| (name, without_hash(output));
        result.built_outputs.into_iter().map(by_path).collect()
    } else if dialect.has(28) {
        result.built_outputs
    } else {
        BTreeMap::new()
    };
    carried
}

fn without_hash(output: BuiltOutput) -> BuiltOutput {
    BuiltOutput {
        drv_hash: None,
        dependent_realisations: BTreeMap::new(),
        ..output
    }
}

/// A failure.
pub(crate) fn remote_error(error: RemoteError, dialect: &Dialect) -> RemoteError {
    if dialect.has(26) {
        RemoteError { status: 1, ..error }
    } else {
        RemoteError {
            status: error.status,
            ..RemoteError::new(error.message)
        }
    }
}

/// What a server says of itself.
pub(crate) fn server_info(info: &ServerInfo, dialect: &Dialect) -> ServerInfo {
    ServerInfo {
        nix_version: info.nix_version.clone().filter(|_| dialect.has(33)),
        trust: info.trust.filter(|_| dialect.has(35)),
    }
}

/// The features of both.
pub(crate) fn features(
    client: &BTreeSet<Feature>,
    server: &BTreeSet<Feature>,
    dialect: &Dialect,
) -> BTreeSet<Feature> {
    let common = client.intersection(server).copied();
    common
        .filter(|feature| dialect.has(38) && feature.is_offered())
        .collect()
}
