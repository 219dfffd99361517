//! `musher doctor`

mod derivation;
mod health;

use std::path::PathBuf;

use clap::Args;

use super::setup::SetupPlaces;
use crate::context::Context;
use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::remotes::ConnectArgs;

/// Find out what is wrong, or why a derivation would not be built
///
/// Looks at the configuration, the coordinator, the home store, the settings of
/// Nix and each machine. Given a derivation, tells which machines could build it,
/// what the others lack, and what Nix makes of that. The exit code is 1 if there
/// is a problem.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// A derivation: a file whose name ends in `.drv`
    #[arg(value_name = "DRV")]
    derivation: Option<PathBuf>,
    #[command(flatten)]
    setup: SetupPlaces,
    #[command(flatten)]
    connect: ConnectArgs,
}

impl DoctorArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Failure> {
        match &self.derivation {
            Some(file) => derivation::explain(context, file),
            None => health::examine(context, &self.setup, &self.connect),
        }
    }
}
