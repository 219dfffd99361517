//! The commands, one file each. A new one is its file with a `…Args` (whose
//! documentation is its help) and a `run`, and here its module, variant and arm.

mod build;
pub(crate) mod builtin;
mod content_hash;
mod daemon;
mod doctor;
mod history;
mod log;
mod machine;
mod named_path;
mod reload;
mod replay;
pub(crate) mod sandbox_init;
mod serve;
mod setup;
mod status;
mod store;
mod why;
mod worker;

use clap::Subcommand;

use crate::context::Context;
use crate::failure::Failure;
use crate::outcome::Outcome;

/// What musher shall do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Build(build::BuildArgs),
    Why(why::WhyArgs),
    Log(log::LogArgs),
    History(history::HistoryArgs),
    Daemon(daemon::DaemonArgs),
    Machine(machine::MachineArgs),
    #[command(hide = true)]
    ContentHash(content_hash::ContentHashArgs),
    Serve(serve::ServeArgs),
    Worker(worker::WorkerArgs),
    Setup(setup::SetupArgs),
    Doctor(doctor::DoctorArgs),
    Status(status::StatusArgs),
    Reload(reload::ReloadArgs),
    Replay(replay::ReplayArgs),
    Store(store::StoreArgs),
}

impl Command {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Failure> {
        match self {
            Self::Build(args) => args.run(context),
            Self::Why(args) => args.run(context),
            Self::Log(args) => args.run(context),
            Self::History(args) => args.run(context),
            Self::Daemon(args) => args.run(context),
            Self::ContentHash(args) => args.run(context),
            Self::Machine(args) => args.run(context),
            Self::Serve(args) => args.run(context),
            Self::Worker(args) => args.run(context),
            Self::Setup(args) => args.run(context),
            Self::Doctor(args) => args.run(context),
            Self::Status(args) => args.run(context),
            Self::Reload(args) => args.run(context),
            Self::Replay(args) => args.run(context),
            Self::Store(args) => args.run(context),
        }
    }

    /// Whether it may open a store on this disk, or many connections, for which
    /// the usual limit on open files is low.
    pub(crate) fn has_a_store(&self) -> bool {
        match self {
            Self::Build(_) | Self::Daemon(_) | Self::Serve(_) | Self::Store(_) => true,
            Self::Worker(args) => args.is_worker(),
            Self::Why(_)
            | Self::Log(_)
            | Self::History(_)
            | Self::Machine(_)
            | Self::ContentHash(_)
            | Self::Setup(_)
            | Self::Doctor(_)
            | Self::Status(_)
            | Self::Reload(_)
            | Self::Replay(_) => false,
        }
    }

    /// Whether it runs on its own, so that its log is what there is to see.
    pub(crate) fn is_daemon(&self) -> bool {
        match self {
            Self::Daemon(_) => true,
            Self::Worker(args) => args.is_worker(),
            Self::Build(_)
            | Self::Serve(_)
            | Self::Store(_)
            | Self::Why(_)
            | Self::Log(_)
            | Self::History(_)
            | Self::Machine(_)
            | Self::ContentHash(_)
            | Self::Setup(_)
            | Self::Doctor(_)
            | Self::Status(_)
            | Self::Reload(_)
            | Self::Replay(_) => false,
        }
    }
}
