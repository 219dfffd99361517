//! `musher why`

pub(super) mod record;
mod text;

use clap::Args;
use musher_api::coordinator as api;

use self::record::{StateRecord, WhyRecord};
use super::named_path::named_path;
use crate::context::Context;
use crate::coordinator::Coordinator;
use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::runtime::block_on;

/// Tell what becomes of a derivation, and why
///
/// Of one that waits: for what, and why each machine does not make it now. Of one
/// that runs or ended lately: where, and why there. Of one that nobody asks for:
/// whether it is there, who could build it, and what is known of the last time.
/// The exit code is 1 if it failed, or if nobody asks for it and it is not there.
#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    /// The derivation, an output of it, something inside of one, or a link to it
    path: String,
}

impl WhyArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Failure> {
        let reply = block_on(self.ask(context))?;
        let record = WhyRecord::from(reply);
        if context.ui.json {
            context.ui.json(&record)?;
        } else {
            context.ui.text(&text::text(&record))?;
        }
        Ok(Outcome::of(is_well(&record)))
    }

    async fn ask(&self, context: &Context) -> Result<api::WhyReply, Failure> {
        let mut coordinator = Coordinator::connect(&context.places.run).await?;
        let home = coordinator.home().await?;
        // As `build` takes it.
        let (path, _) = self.path.split_once('^').unwrap_or((&self.path, ""));
        let path = named_path(path, &home.store_dir, &home.real_dir)?;
        Ok(coordinator.why(api::WhyRequest { path }).await?)
    }
}

/// Whether it is there, or may be.
fn is_well(record: &WhyRecord) -> bool {
    match &record.state {
        StateRecord::Planned { .. } | StateRecord::Waiting { .. } | StateRecord::Running { .. } => {
            true
        }
        StateRecord::Ended { is_well, .. } => *is_well,
        StateRecord::NotAsked { outputs, .. } => {
            !outputs.is_empty() && outputs.iter().all(|output| output.valid)
        }
        StateRecord::Unknown => false,
    }
}
