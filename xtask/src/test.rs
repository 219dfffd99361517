//! `cargo xtask test`: everything that CI checks, in the order of what is
//! quickest to fail. Knows the steps; each knows itself how to fail.

use anyhow::Result;
use clap::Args;

use crate::{
    apt::{self, Tool},
    cargo, compare, enrol, interop, lint, newest, run, store, ui,
};

/// Run every check that CI runs
#[derive(Args)]
pub(crate) struct TestArgs {}

/// What compiling and the tests need besides Rust.
const TOOLS: [Tool; 4] = [
    Tool {
        program: "cc",
        package: "gcc",
    },
    Tool {
        program: "ssh",
        package: "openssh-client",
    },
    Tool {
        program: "sshd",
        package: "openssh-server",
    },
    Tool {
        program: "nix-daemon",
        package: "nix-bin",
    },
];

/// Stops at the first step that fails.
pub(crate) fn run(_: &TestArgs) -> Result<()> {
    ui::step("tools", || apt::require(&TOOLS))?;
    with_cargo("formatting", &["fmt", "--all", "--check"])?;
    with_cargo(
        "clippy",
        &[
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "--deny=warnings",
        ],
    )?;
    ui::step("lint", || lint::run(&lint::LintArgs {}))?;
    with_cargo("tests", &["test", "--workspace"])?;
    ui::step("tests with the newest Nix", newest::run)?;
    ui::step("compare", || compare::run(&compare::CompareArgs::all()))?;
    ui::step("enrol", || enrol::run(&enrol::EnrolArgs::quick()))?;
    ui::step("store", || store::run(&store::StoreArgs::all()))?;
    ui::step("interop", || interop::run(&interop::InteropArgs::all()))
}

fn with_cargo(name: &str, arguments: &[&str]) -> Result<()> {
    ui::step(name, || run::visible(&mut cargo::command(arguments)))
}
