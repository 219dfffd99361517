//! `musher store …`

mod add;
pub(super) mod copy;
mod gc;
mod info;
mod on_disk;
mod path_info;
mod paths;
mod ping;
mod verify;

use clap::{Args, Subcommand};

use crate::context::Context;
use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::remotes::ConnectArgs;

/// Ask Nix stores, near and far, copy between them, and look after our own
#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    Ping(ping::PingArgs),
    Info(info::InfoArgs),
    PathInfo(path_info::PathInfoArgs),
    Copy(copy::CopyArgs),
    Add(add::AddArgs),
    Verify(verify::VerifyArgs),
    Gc(gc::GcArgs),
}

/// Which store is meant.
#[derive(Debug, Args)]
struct StoreAt {
    /// The store: ssh-ng://HOST, ssh://HOST, unix:///SOCKET, daemon, auto, or a directory
    #[arg(long, value_name = "URL", default_value = "auto")]
    store: String,
    #[command(flatten)]
    connect: ConnectArgs,
}

impl StoreArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Failure> {
        match self.command {
            StoreCommand::Ping(args) => args.run(context),
            StoreCommand::Info(args) => args.run(context),
            StoreCommand::PathInfo(args) => args.run(context),
            StoreCommand::Copy(args) => args.run(context),
            StoreCommand::Add(args) => args.run(context),
            StoreCommand::Verify(args) => args.run(context),
            StoreCommand::Gc(args) => args.run(context),
        }
    }
}
