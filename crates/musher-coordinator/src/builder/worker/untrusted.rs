//! A build on a machine that does not trust us. It believes neither the
//! derivation's output paths nor unsigned inputs, so it is given the
//! derivation with all it comes from, and asked to realise its outputs: it
//! works the paths out itself, and builds or substitutes what is missing.

use std::collections::{BTreeMap, BTreeSet};

use musher_protocol::types::PathInfo;
use musher_protocol::worker::{Request, Response};
use musher_store::{StoreError, WorkerConnection, upload};
use nix_derivation::{DerivedPath, SingleDerivedPath};

use super::{WorkerBuilder, answers};
use crate::attempt::{LogSink, Order};
use crate::builder::{Fault, Outcome};

pub(super) async fn attempt(
    builder: &WorkerBuilder,
    mut connection: WorkerConnection,
    order: &Order,
    log: &mut LogSink,
) -> Result<Outcome, Fault> {
    let drv_path = &order.spec.drv_path;
    let recipe = order.home().closure([drv_path.clone()]).await;
    let recipe = recipe.map_err(|error| Fault::Recipe(Box::new(error)))?;
    // What has an address by its content needs nobody's word.
    let mut offered: BTreeMap<_, &PathInfo> = BTreeMap::new();
    for info in recipe.0.iter().chain(&order.closure.0) {
        if info.ca.is_some() {
            offered.insert(&info.path, info);
        }
    }
    let unknown: BTreeSet<_> = order
        .known
        .unknown(offered.keys().copied())
        .into_iter()
        .collect();
    for path in offered.keys() {
        connection.request(Request::AddTempRoot((*path).clone()))?;
    }
    let substitute = builder.substitutes;
    connection.request(Request::QueryValidPaths {
        paths: unknown.clone(),
        substitute,
    })?;
    answers::done(&mut connection, offered.len()).await?;
    let valid = answers::valid_paths(&mut connection).await?;
    let missing: Vec<_> = (unknown.difference(&valid))
        .filter_map(|path| offered.get(path).copied().cloned())
        .collect();
    let missing = musher_store::references_first(missing);
    let mode = answers::mode_there(&mut connection, order).await?;
    let uploads = upload(&mut connection, &missing, &order.sources, false).await?;
    let outputs = answers::known_outputs(order);
    let all_outputs = DerivedPath::Built {
        drv_path: SingleDerivedPath::Opaque(drv_path.clone()),
        outputs: Vec::new(),
    };
    connection.request(Request::BuildPathsWithResults {
        paths: vec![all_outputs],
        mode,
    })?;
    for path in outputs.values() {
        connection.request(Request::QueryPathInfo(path.clone()))?;
    }

    answers::done(&mut connection, uploads).await?;
    log.build_starts();
    let results = match answers::build(&mut connection, log).await? {
        Ok(Response::KeyedBuildResults(results)) => results,
        Ok(other) => return Err(answers::unexpected("build results", &other)),
        Err(error) => return Err(StoreError::Remote(error).into()),
    };
    let (_, result) = results.into_iter().next().ok_or_else(|| {
        Fault::Nonsense("it was asked to build one derivation and answered for none".to_owned())
    })?;
    answers::finish(builder, connection, order, result, false).await
}
