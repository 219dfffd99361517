//! What can be said on the command line, apart from each command's own part.

use std::path::PathBuf;

use clap::{Args, Parser};

use crate::commands::Command;

/// Makes any set of machines behave as one Nix build machine.
///
/// Data goes to standard output, everything else to standard error.
#[derive(Debug, Parser)]
#[command(name = "musher", version, max_term_width = 100, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every command takes, before or after its name.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// The configuration; machines in Nix's format are read from the file `machines` beside it
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,
    /// The directory of sockets
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) run: Option<PathBuf>,
    /// The directory of what is kept
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) state: Option<PathBuf>,
    /// Print data as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print what is going on inside; MUSHER_LOG chooses more finely
    #[arg(long, short, global = true)]
    pub(crate) verbose: bool,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the work itself failed: a build, a machine's test
  2  a mistake in the command line, a file or a request
  3  the surroundings failed: disk, network, a daemon that is not there
  4  a bug in musher
  130, 143  stopped by Ctrl-C, by SIGTERM";
