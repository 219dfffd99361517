//! One build ahead of its client: what it is, so that the client's own question
//! finds it, and its outputs at hand for when that comes.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, stream};
use musher_protocol::types::BuildMode;
use nix_derivation::{Derivation, StorePath};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tracing::debug;

use super::graph::{Kind, Recipe};
use super::{Ahead, Asked, Shared};
use crate::build::{BuildSpec, Ended, Limits, undisclosed_outputs};
use crate::core::{BuildKey, Command};
use crate::held_inputs::HeldInputs;
use crate::request::resolve::{basic, recipe};

/// What is not built by a program.
const BUILTIN: &str = "builtin";

/// The longest NAR that is read before it is asked for.
pub(super) const SHORT: u64 = 256 << 10;

/// What a client's graph needs to know of `derivation`.
pub(super) fn recipe_of(derivation: &Derivation) -> Recipe {
    let known = recipe(derivation).ok();
    let outputs = known.iter().flat_map(|recipe| &recipe.outputs);
    let outputs: BTreeMap<_, _> = outputs
        .filter_map(|(name, path)| Some((name.clone(), path.clone()?)))
        .collect();
    let is_known = outputs.len() == derivation.outputs().len();
    let is_builtin = derivation.builder().starts_with(BUILTIN);
    let kind = match is_known && !is_builtin && derivation.system() != BUILTIN {
        true if prefers_local(derivation) => Kind::PreferredLocal,
        true => Kind::Sent,
        false => Kind::Kept,
    };
    Recipe {
        outputs,
        inputs: known.map(|recipe| recipe.inputs).unwrap_or_default(),
        kind,
    }
}

fn prefers_local(derivation: &Derivation) -> bool {
    const NAME: &str = "preferLocalBuild";
    match derivation.structured_attrs() {
        Some(attrs) => {
            let attrs: serde_json::Value =
                serde_json::from_slice(attrs.raw_json()).unwrap_or_default();
            attrs[NAME].as_bool() == Some(true)
        }
        None => (derivation.environment().get(NAME)).is_some_and(|value| *value == b"1"),
    }
}

/// Asks the core for `derivation`, which reads `inputs`, as its client will.
/// Nothing if it is there meanwhile.
pub(super) async fn begin(
    shared: &Shared,
    drv: &StorePath,
    derivation: &Derivation,
    inputs: &BTreeSet<StorePath>,
    limits: Limits,
    held: HeldInputs,
) -> Result<Option<(Asked, Ahead)>, String> {
    let basic = basic(derivation, inputs.iter().cloned());
    let mut basic = basic.map_err(|error| crate::error_text(&error))?;
    let outputs = basic.outputs.values();
    let outputs = outputs.filter_map(|output| output.path.clone()).collect();
    let (valid, closure) = tokio::join!(
        shared.home.valid(&outputs),
        shared
            .home
            .closure_with(basic.input_sources.iter().cloned(), &held)
    );
    let valid = valid.map_err(|error| crate::error_text(&error))?;
    if !valid.is_empty() {
        return Ok(None);
    }
    let closure = closure.map_err(|error| crate::error_text(&error))?;
    if !derivation.input_derivations().is_empty() {
        // Stock Nix says all of them then, and not only what is read.
        basic.input_sources = closure.paths().cloned().collect();
    }
    let spec = BuildSpec {
        drv_path: drv.clone(),
        derivation: basic,
        mode: BuildMode::Normal,
        limits,
        held,
        // It stands in the way of others until somebody wants it.
        nar_ahead: false,
        keep_failed: false,
    };
    let key = BuildKey::of(&spec);
    let (inputs, undisclosed) = (
        spec.derivation.input_sources.clone(),
        undisclosed_outputs(&spec.derivation),
    );
    let ask = |reply| Command::Build {
        spec: Box::new(spec),
        part: None,
        reply,
    };
    let progress = shared.core.ask(ask).await;
    let progress = progress.map_err(|gone| gone.to_string())?;
    let asked = Asked {
        drv: drv.clone(),
        limits,
        inputs,
        undisclosed,
        progress: progress.clone(),
    };
    Ok(Some((asked, Ahead { key, progress })))
}

/// Reads the NAR of `path`, a short output, for whoever is going to ask for it.
pub(super) async fn fetch(
    shared: &Shared,
    ended: &Ended,
    path: &StorePath,
    room: OwnedSemaphorePermit,
) {
    let info = ended.outputs.values().find(|info| info.path == *path);
    let (Some(info), Some(held), Some(machine)) = (info, &ended.held, &ended.machine) else {
        return;
    };
    let machine = machine.clone();
    let reader = |reply| Command::Reader { machine, reply };
    let Ok(Some(builder)) = shared.core.ask(reader).await else {
        return;
    };
    let mut nar = match builder.read_nar(path).await {
        Ok(nar) => nar,
        Err(error) => {
            let error = crate::error_text(&error);
            debug!(%path, error, "an output is not read ahead");
            return;
        }
    };
    let (chunks, read) = mpsc::unbounded_channel();
    // It is read to its end whoever wants it, so that the way is free again.
    tokio::spawn(async move {
        while let Some(chunk) = nar.next().await {
            // Nobody may want it any more.
            let _ = chunks.send(chunk);
        }
    });
    let read = stream::unfold((read, room), async |(mut read, room)| {
        let chunk = read.recv().await?;
        Some((chunk, (read, room)))
    });
    held.put(info, Box::pin(read));
}
