//! `cargo xtask`: the project's own tasks. Knows the command line and which
//! module serves it, and nothing of how.

mod apt;
mod bench;
mod cargo;
mod compare;
mod demo;
mod dispatch;
mod enrol;
mod faults;
mod hosts;
mod interop;
mod lint;
mod newest;
mod relay;
mod run;
mod shell;
mod soundness;
mod store;
mod test;
mod ui;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Development tasks of Musher.
#[derive(Parser)]
#[command(name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    Test(test::TestArgs),
    Lint(lint::LintArgs),
    Bench(bench::BenchArgs),
    Compare(compare::CompareArgs),
    Demo(demo::DemoArgs),
    Enrol(enrol::EnrolArgs),
    Faults(faults::FaultsArgs),
    Interop(interop::InteropArgs),
    Store(store::StoreArgs),
    Hosts(shell::HostsArgs),
    #[command(hide = true)]
    HostInit(hosts::init::InitArgs),
}

fn main() -> ExitCode {
    match perform(Cli::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            ui::error(&error);
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Result<()> {
    match task {
        Task::Test(args) => test::run(&args),
        Task::Lint(args) => lint::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Compare(args) => compare::run(&args),
        Task::Demo(args) => demo::run(&args),
        Task::Enrol(args) => enrol::run(&args),
        Task::Faults(args) => faults::run(&args),
        Task::Interop(args) => interop::run(&args),
        Task::Store(args) => store::run(&args),
        Task::Hosts(args) => shell::run(&args),
        Task::HostInit(args) => hosts::init::run(&args),
    }
}
