//! `musher machine …`

mod add;
mod configuration;
mod drain;
mod import;
mod list;
mod lookup;
mod record;
mod reload;
mod remove;
mod show;
mod story;
mod test;
mod visit;

use clap::{Args, Subcommand};

use crate::context::Context;
use crate::failure::Failure;
use crate::outcome::Outcome;

/// Show and change the machines that build
#[derive(Debug, Args)]
pub(crate) struct MachineArgs {
    #[command(subcommand)]
    command: MachineCommand,
}

#[derive(Debug, Subcommand)]
enum MachineCommand {
    Add(Box<add::AddArgs>),
    Remove(remove::RemoveArgs),
    List(list::ListArgs),
    Show(show::ShowArgs),
    Test(test::TestArgs),
    Drain(drain::DrainArgs),
    Resume(drain::ResumeArgs),
    Import(import::ImportArgs),
}

impl MachineArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Failure> {
        match self.command {
            MachineCommand::Add(args) => args.run(context),
            MachineCommand::Remove(args) => args.run(context),
            MachineCommand::List(args) => args.run(context),
            MachineCommand::Show(args) => args.run(context),
            MachineCommand::Test(args) => args.run(context),
            MachineCommand::Drain(args) => args.run(context),
            MachineCommand::Resume(args) => args.run(context),
            MachineCommand::Import(args) => args.run(context),
        }
    }
}
