//! `musher history export`

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use musher_coordinator::history::export;
use serde::Serialize;

use crate::context::Context;
use crate::coordinator::{Coordinator, CoordinatorError};
use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::runtime::block_on;

/// Write the graph of a request, with how long each of its builds took, to a file
///
/// The file is JSON: `root`, and `nodes` of which each has `name`, `seconds` (at
/// speed factor 1), `output_bytes`, `fixed_output` and `deps`, the places in the list
/// of what it needs, which come before it.
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// Which request, by its number in `musher history`
    #[arg(long, value_name = "ID", conflicts_with = "last")]
    request: Option<u64>,
    /// The request that ended last, which is also meant where none is named
    #[arg(long)]
    last: bool,
    /// The file, or `-` for standard output
    file: PathBuf,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot write `{}`", path.display())]
struct WriteError {
    path: PathBuf,
    source: io::Error,
}

/// What was written, in JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct ExportRecord {
    file: PathBuf,
    builds: usize,
}

impl ExportArgs {
    pub(super) fn run(self, context: &Context) -> Result<Outcome, Failure> {
        let (graph, builds) = export(&state(context)?, self.request)?;
        if self.file == Path::new("-") {
            context.ui.json_line(&graph)?;
            return Ok(Outcome::Done);
        }
        std::fs::write(&self.file, format!("{graph}\n")).map_err(|source| {
            Failure::environment(WriteError {
                path: self.file.clone(),
                source,
            })
        })?;
        if context.ui.json {
            let file = self.file;
            context.ui.json(&ExportRecord { file, builds })?;
        } else {
            let file = self.file.display();
            let noun = if builds == 1 { "build" } else { "builds" };
            context
                .ui
                .note(&format!("wrote a graph of {builds} {noun} to `{file}`"));
        }
        Ok(Outcome::Done)
    }
}

/// Where the running coordinator keeps things, or where one would. Graphs are
/// read from there: they may be larger than a message.
fn state(context: &Context) -> Result<PathBuf, Failure> {
    let run = &context.places.run;
    let status =
        block_on(async { Ok(async { Coordinator::connect(run).await?.status().await }.await) })?;
    match status {
        Ok(status) if !status.state.is_empty() => Ok(status.state.into()),
        Ok(_) | Err(CoordinatorError::NotRunning { .. }) => Ok(context.places.state.clone()),
        Err(error) => Err(error.into()),
    }
}
