//! The commands, one file each. A new one is its file with a `…Args` (whose
//! documentation is its help) and a `run`, and here its module, variant and arm.

mod machine;
mod setup;

use clap::Subcommand;

use crate::context::Context;
use crate::failure::Failure;
use crate::outcome::Outcome;

/// What musher shall do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Machine(machine::MachineArgs),
    Setup(setup::SetupArgs),
}

impl Command {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Failure> {
        match self {
            Self::Machine(args) => args.run(context),
            Self::Setup(args) => args.run(context),
        }
    }
}
