//! `musher machine drain` and `musher machine resume`

use clap::Args;
use musher_api::coordinator::DrainRequest;

use crate::context::Context;
use crate::coordinator::Coordinator;
use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::runtime::block_on;

/// Give a machine no new builds; those it runs go on
///
/// Lasts until `musher machine resume`, or until the coordinator is restarted.
#[derive(Debug, Args)]
pub(crate) struct DrainArgs {
    /// The machine
    name: String,
}

/// Give a machine builds again
#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    /// The machine
    name: String,
}

impl DrainArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Failure> {
        set(context, &self.name, false)?;
        context
            .ui
            .note(&format!("`{}` gets no new builds", self.name));
        Ok(Outcome::Done)
    }
}

impl ResumeArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Failure> {
        set(context, &self.name, true)?;
        context.ui.note(&format!("`{}` gets builds", self.name));
        Ok(Outcome::Done)
    }
}

fn set(context: &Context, machine: &str, resume: bool) -> Result<(), Failure> {
    block_on(async {
        let mut coordinator = Coordinator::connect(&context.places.run).await?;
        let request = DrainRequest {
            machine: machine.to_owned(),
            resume,
        };
        let refused = match coordinator.drain(request).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let help = match coordinator.status().await {
            Ok(status) if refused.is_refusal() => {
                let names: Vec<_> = status.machines.into_iter().map(|m| m.name).collect();
                (!names.is_empty()).then(|| format!("there are: {}", names.join(", ")))
            }
            Ok(_) | Err(_) => refused.help(),
        };
        Err(Failure::from(refused).help(help))
    })
}
