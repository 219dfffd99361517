//! A build on a machine that trusts us: it takes our word for the derivation
//! and its inputs, as stock Nix has it.

use std::collections::BTreeSet;

use musher_protocol::types::PathInfo;
use musher_protocol::worker::{Request, Response};
use musher_store::{StoreError, WorkerConnection, upload};
use nix_derivation::StorePath;

use super::{WorkerBuilder, answers};
use crate::attempt::{LogSink, Order};
use crate::builder::{Fault, Outcome, check_inputs};

pub(super) async fn attempt(
    builder: &WorkerBuilder,
    mut connection: WorkerConnection,
    order: &Order,
    log: &mut LogSink,
) -> Result<Outcome, Fault> {
    let inputs: BTreeSet<StorePath> = order.closure.paths().cloned().collect();
    let unknown = order.unknown();
    let missing = missing(builder, &mut connection, order, &unknown).await?;
    let mode = answers::mode_there(&mut connection, order).await?;
    for path in &inputs {
        connection.request(Request::AddTempRoot(path.clone()))?;
    }
    let uploads = upload(&mut connection, &missing, &order.sources, true).await?;
    let paths = inputs.clone();
    connection.request(Request::QueryValidPaths {
        paths,
        substitute: false,
    })?;
    connection.request(Request::BuildDerivation {
        drv_path: order.spec.drv_path.clone(),
        derivation: order.spec.derivation.clone(),
        mode,
    })?;
    let outputs = answers::known_outputs(order);
    for path in outputs.values() {
        connection.request(Request::QueryPathInfo(path.clone()))?;
    }
    // With several outputs nobody knows which is wanted first, and a NAR that
    // is not read stands in the way of the next. A failed build has no output,
    // and asking for its NAR costs the connection; failures are rare.
    let only = outputs.len() == 1 && order.spec.derivation.outputs.len() == 1;
    let ahead = order.spec.nar_ahead && only;
    if let (true, Some(path)) = (ahead, outputs.values().next()) {
        connection.request(Request::NarFromPath(path.clone()))?;
    }

    answers::done(&mut connection, inputs.len()).await?;
    answers::done(&mut connection, uploads).await?;
    let valid = answers::valid_paths(&mut connection).await?;
    check_inputs(&inputs, &valid, &unknown)?;
    log.build_starts();
    let result = match answers::build(&mut connection, log).await? {
        Ok(Response::BuildResult(result)) => result,
        Ok(other) => return Err(answers::unexpected("a build result", &other)),
        // Not how the build went, but that the daemon would not begin it.
        Err(error) => return Err(StoreError::Remote(error).into()),
    };
    answers::finish(builder, connection, order, result, ahead).await
}

/// The inputs that must be sent: those the machine is not known to hold, does
/// not say it holds, and cannot substitute.
async fn missing(
    builder: &WorkerBuilder,
    connection: &mut WorkerConnection,
    order: &Order,
    unknown: &BTreeSet<StorePath>,
) -> Result<Vec<PathInfo>, Fault> {
    if unknown.is_empty() {
        return Ok(Vec::new());
    }
    for path in unknown {
        connection.request(Request::AddTempRoot(path.clone()))?;
    }
    let substitute = builder.substitutes;
    connection.request(Request::QueryValidPaths {
        paths: unknown.clone(),
        substitute,
    })?;
    answers::done(connection, unknown.len()).await?;
    let valid = answers::valid_paths(connection).await?;
    Ok((order.closure.0.iter())
        .filter(|info| unknown.contains(&info.path) && !valid.contains(&info.path))
        .cloned()
        .collect())
}
