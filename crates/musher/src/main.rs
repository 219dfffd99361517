//! The one binary. Commands are thin: they read the configuration, ask a
//! library, and show what came of it.

mod check;
mod cli;
mod commands;
mod context;
mod coordinator;
mod failure;
mod logging;
mod outcome;
mod places;
mod remotes;
mod runtime;
mod ui;

use std::panic;
use std::process::{self, ExitCode};

use clap::Parser as _;
use musher_store::open_files;

use cli::Cli;
use commands::{builtin, sandbox_init};
use context::Context;
use failure::Failure;
use outcome::Outcome;
use ui::Ui;

/// See the list in `cli`.
const EXIT_BUG: i32 = 4;

fn main() -> ExitCode {
    sandbox_init::run_if_asked();
    builtin::run_if_asked();
    let cli = Cli::parse();
    if cli.command.has_a_store() {
        open_files::raise();
    }
    logging::start(cli.global.verbose, cli.command.is_daemon());
    let ui = Ui::new(cli.global.json);
    end_on_panic(ui);
    match run(cli, ui) {
        Ok(outcome) => outcome.into(),
        Err(failure) => {
            ui.failure(&failure);
            failure.exit_code()
        }
    }
}

fn run(cli: Cli, ui: Ui) -> Result<Outcome, Failure> {
    let context = Context::new(&cli.global, ui)?;
    cli.command.run(&context)
}

/// Makes a broken invariant end the process, whichever task it broke in, with
/// the exit code that is documented for bugs.
fn end_on_panic(ui: Ui) {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        print(info);
        ui.bug();
        process::exit(EXIT_BUG)
    }));
}
