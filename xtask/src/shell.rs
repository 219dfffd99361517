//! `cargo xtask hosts`: hosts to try things on by hand.

use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::{
    cargo::{self, Profile},
    dispatch::{self, Machine},
    hosts::{
        base::{self, Equipment},
        command::User,
        host::Spec,
        suite::Suite,
        team::Team,
    },
    ui,
};

/// Start a client and builders, and run a command on the client as root
#[derive(Args)]
pub(crate) struct HostsArgs {
    /// The client's Debian
    #[arg(long, value_enum, default_value = "bookworm")]
    client: Suite,
    /// A builder's Debian; each becomes a host `b1`, `b2`, …
    #[arg(long = "builder", value_enum)]
    builders: Vec<Suite>,
    /// Give each builder a network of its own
    #[arg(long)]
    networked: bool,
    /// Let the client's Nix build on them through Musher
    #[arg(long)]
    musher: bool,
    /// Only prepare the bases
    #[arg(long, exclusive = true)]
    prepare: bool,
    /// What to run; a shell if nothing
    #[arg(trailing_var_arg = true)]
    command: Vec<String>,
}

/// Runs the command; its failure is this task's.
pub(crate) fn run(args: &HostsArgs) -> Result<()> {
    if args.prepare {
        return ui::step("prepare the bases", || {
            base::prepare_all(&Suite::ALL)?;
            base::prepare(Suite::Bookworm, Equipment::Bare).map(drop)
        });
    }
    let builders = (1..).zip(&args.builders).map(|(number, &suite)| {
        let spec = Spec::new(format!("b{number}"), suite).with("trusted-users", "root build");
        if args.networked {
            spec.networked()
        } else {
            spec
        }
    });
    let team = Team::start(Spec::new("client", args.client), builders.collect())?;
    for builder in &team.builders {
        ui::say(format!(
            "{}: Debian {}, sshd at {}",
            builder.name(),
            builder.suite().name(),
            builder.ssh_address()
        ));
    }
    if args.musher {
        let machines: Vec<Machine> = team
            .builders
            .iter()
            .map(|host| Machine::new(&host.destination(), 4))
            .collect();
        let program = cargo::build_musher(Profile::Dev)?;
        dispatch::use_musher(&team.client, &program, &machines)?;
    }
    let words = if args.command.is_empty() {
        vec!["bash".to_owned()]
    } else {
        args.command.clone()
    };
    let (program, rest) = words.split_first().context("no command")?;
    interactive(team.client.command(User::Root, program).args(rest))
}

fn interactive(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .context("cannot run a command on the client")?;
    anyhow::ensure!(status.success(), "the command ended with {status}");
    Ok(())
}
