//! `musher reload`

use clap::Args;
use serde::Serialize;

use crate::context::Context;
use crate::coordinator::Coordinator;
use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::runtime::block_on;

/// Have the coordinator read its configuration again, and show what changed
#[derive(Debug, Args)]
pub(crate) struct ReloadArgs {}

/// What changed, in JSON.
#[derive(Debug, Serialize)]
struct ReloadRecord {
    /// One line each, for people.
    changes: Vec<String>,
}

impl ReloadArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Failure> {
        let Self {} = self;
        let run = &context.places.run;
        let changes = block_on(async { Ok(Coordinator::connect(run).await?.reload().await?) })?;
        if context.ui.json {
            context.ui.json(&ReloadRecord { changes })?;
            return Ok(Outcome::Done);
        }
        if changes.is_empty() {
            context.ui.note("nothing has changed");
        }
        let lines: String = changes.iter().map(|change| format!("{change}\n")).collect();
        context.ui.text(&lines)?;
        Ok(Outcome::Done)
    }
}
