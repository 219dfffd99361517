//! The commands, one file each. A new one is its file with a `…Args` (whose
//! documentation is its help) and a `run`, and here its module, variant and arm.

mod daemon;
mod doctor;
mod machine;
mod reload;
mod serve;
mod setup;
mod status;
mod store;

use clap::Subcommand;

use crate::context::Context;
use crate::failure::Failure;
use crate::outcome::Outcome;

/// What musher shall do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Daemon(daemon::DaemonArgs),
    Machine(machine::MachineArgs),
    Serve(serve::ServeArgs),
    Setup(setup::SetupArgs),
    Doctor(doctor::DoctorArgs),
    Status(status::StatusArgs),
    Reload(reload::ReloadArgs),
    Store(store::StoreArgs),
}

impl Command {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Failure> {
        match self {
            Self::Daemon(args) => args.run(context),
            Self::Machine(args) => args.run(context),
            Self::Serve(args) => args.run(context),
            Self::Setup(args) => args.run(context),
            Self::Doctor(args) => args.run(context),
            Self::Status(args) => args.run(context),
            Self::Reload(args) => args.run(context),
            Self::Store(args) => args.run(context),
        }
    }

    /// Whether it runs on its own, so that its log is what there is to see.
    pub(crate) fn is_daemon(&self) -> bool {
        matches!(self, Self::Daemon(_))
    }
}
