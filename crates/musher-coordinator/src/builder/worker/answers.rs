//! Reads the answers to requests that were written at once, in their order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use musher_protocol::types::{BuildMode, BuildResult, PathInfo};
use musher_protocol::worker::{Field, Message, RemoteError, Request, Response, ResultKind};
use musher_store::{StoreError, WorkerConnection, deaf};
use nix_derivation::StorePath;
use tracing::debug;

use super::{Rooted, WorkerBuilder};
use crate::attempt::{LogSink, Order};
use crate::builder::{Fault, Outcome};
use crate::held_outputs::HeldOutputs;

/// An answer of a kind that was not asked for.
pub(super) fn unexpected(expected: &'static str, found: &Response) -> Fault {
    StoreError::Unexpected {
        expected,
        found: format!("{found:?}"),
    }
    .into()
}

/// Waits for `count` answers that say nothing but that it was done.
pub(super) async fn done(connection: &mut WorkerConnection, count: usize) -> Result<(), Fault> {
    for _ in 0..count {
        connection.answer(&mut deaf).await?;
    }
    Ok(())
}

/// The answer to a `QueryValidPaths`.
pub(super) async fn valid_paths(
    connection: &mut WorkerConnection,
) -> Result<BTreeSet<StorePath>, Fault> {
    let answer = connection.answer(&mut deaf).await?;
    let Response::Paths(valid) = answer else {
        return Err(unexpected("a set of paths", &answer));
    };
    Ok(valid)
}

/// In which mode the machine is to build. What is to be checked and is not there
/// is built as if it were new: whoever asked holds it against what they have.
pub(super) async fn mode_there(
    connection: &mut WorkerConnection,
    order: &Order,
) -> Result<BuildMode, Fault> {
    let mode = order.spec.mode;
    if mode != BuildMode::Check {
        return Ok(mode);
    }
    let paths: BTreeSet<_> = known_outputs(order).into_values().collect();
    connection.request(Request::QueryValidPaths {
        paths: paths.clone(),
        substitute: false,
    })?;
    let is_there = !paths.is_empty() && valid_paths(connection).await? == paths;
    Ok(match is_there {
        true => mode,
        false => BuildMode::Normal,
    })
}

/// The answer to a build; its log goes to `log` as it comes.
pub(super) async fn build(
    connection: &mut WorkerConnection,
    log: &mut LogSink,
) -> Result<Result<Response, RemoteError>, Fault> {
    let mut written = Ok(());
    let mut hear = |message: Message| {
        if written.is_ok() {
            written = note(log, &message);
        }
    };
    let outcome = connection.outcome(&mut hear).await?;
    written?;
    Ok(outcome)
}

fn note(log: &mut LogSink, message: &Message) -> Result<(), Fault> {
    match message {
        Message::Result { kind, fields, .. } => match fields.first() {
            Some(Field::Text(line)) if *kind == ResultKind::BUILD_LOG_LINE => {
                log.line(line.as_bytes())
            }
            Some(Field::Text(phase)) if *kind == ResultKind::SET_PHASE => {
                log.phase(&phase.to_string())
            }
            _ => Ok(()),
        },
        Message::Next(text) => {
            debug!(%text, "the machine's nix-daemon says");
            Ok(())
        }
        Message::StartActivity(_) | Message::StopActivity { .. } => Ok(()),
    }
}

/// The answers to one `QueryPathInfo` for each of `paths`: infos by output
/// name, of those that are valid.
pub(super) async fn infos(
    connection: &mut WorkerConnection,
    paths: &BTreeMap<String, StorePath>,
) -> Result<BTreeMap<String, PathInfo>, Fault> {
    let mut infos = BTreeMap::new();
    for name in paths.keys() {
        let answer = connection.answer(&mut deaf).await?;
        let Response::PathInfo(info) = answer else {
            return Err(unexpected("a path info", &answer));
        };
        // The answer does not repeat the path: it is the one that was asked for.
        infos.extend(info.map(|info| (name.clone(), info)));
    }
    Ok(infos)
}

/// The outputs whose paths are known before the build.
pub(super) fn known_outputs(order: &Order) -> BTreeMap<String, StorePath> {
    (order.spec.derivation.outputs.iter())
        .filter_map(|(name, output)| Some((name.clone(), output.path.clone()?)))
        .collect()
}

/// What comes after a build: infos of outputs that were asked for with it, and
/// then, if `ahead`, the NAR of the only one.
pub(super) async fn finish(
    builder: &WorkerBuilder,
    mut connection: WorkerConnection,
    order: &Order,
    result: BuildResult,
    ahead: bool,
) -> Result<Outcome, Fault> {
    if !result.status.is_success() {
        // What was asked beyond the failed build closes the connection.
        return Ok(Outcome::failed(result));
    }
    let known = known_outputs(order);
    let mut outputs = infos(&mut connection, &known).await?;
    if let (true, Some(info)) = (ahead, outputs.values().next()) {
        let nar = builder.store.nar_stream(connection);
        let held = HeldOutputs::ahead(info, nar);
        return Ok(Outcome {
            result,
            outputs,
            held: Some(held),
            measured: None,
            kept_dir: None,
        });
    }
    let declared = &order.spec.derivation.outputs;
    let found: BTreeMap<_, _> = (result.built_outputs.iter())
        .filter(|(name, _)| !known.contains_key(*name) && declared.contains_key(*name))
        .map(|(name, built)| (name.clone(), built.path.clone()))
        .collect();
    for path in found.values() {
        connection.request(Request::QueryPathInfo(path.clone()))?;
    }
    outputs.extend(infos(&mut connection, &found).await?);
    let store = Arc::clone(&builder.store);
    let held = match order.spec.nar_ahead {
        true => HeldOutputs::rooted(Rooted {
            connection: Some(connection),
            store,
        }),
        false => {
            let paths = outputs.values().map(|info| info.path.clone()).collect();
            let give_back = move |connection| store.give_back(connection);
            HeldOutputs::rooted(builder.keeper.keep(connection, paths, give_back))
        }
    };
    Ok(Outcome {
        result,
        outputs,
        held: Some(held),
        measured: None,
        kept_dir: None,
    })
}
