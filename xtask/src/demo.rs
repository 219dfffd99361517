//! `cargo xtask demo`: Musher's main job, seen. A client and two builders, all
//! with stock Nix, and a real `nix-build` of a small C program through Musher.

use std::{path::Path, process::Command};

use anyhow::{Context, Result};
use clap::Args;

use crate::{
    cargo::{self, Profile},
    dispatch::{self, Machine},
    hosts::{command::User, host::Spec, suite::Suite, team::Team},
    run, ui,
};

/// Build a C program on two machines through Musher, with stock Nix on all three
#[derive(Args)]
pub(crate) struct DemoArgs {
    /// By stock remote building, without Musher
    #[arg(long, hide = true)]
    stock: bool,
}

/// What the finished program is asked.
const QUESTIONS: [&str; 3] = ["2 * (3 + 4)", "fibonacci(50) - choose(49, 6)", "root(2)"];

const EXPRESSION: &str = "/home/alice/demo/default.nix";

/// Leaves nothing behind but the cached base.
pub(crate) fn run(args: &DemoArgs) -> Result<()> {
    let musher = if args.stock {
        None
    } else {
        Some(ui::step("build musher", || {
            cargo::build_musher(Profile::Dev)
        })?)
    };
    let team = ui::step("start a client and the builders `b1` and `b2`", || {
        Team::start(
            Spec::new("client", Suite::Bookworm),
            ["b1", "b2"]
                .map(|name| Spec::new(name, Suite::Bookworm))
                .into(),
        )
    })?;
    let machines: Vec<Machine> = team
        .builders
        .iter()
        .map(|host| Machine::new(&host.destination(), 2))
        .collect();
    ui::step("point the client's Nix at them", || match &musher {
        Some(program) => dispatch::use_musher(&team.client, program, &machines),
        None => dispatch::use_stock(&team.client, &machines),
    })?;
    copy_sources(&team)?;
    ui::step("nix-build", || {
        run::visible(nix(&team, "nix-build").args(["--out-link", "reckon"]))
    })?;
    let program = "./reckon/bin/reckon";
    let answers = run::output(team.client.command(User::Alice, program).args(QUESTIONS))
        .context("the program that was built does not run")?;
    ui::data(answers.trim_end());
    for (derivation, builder) in places(&team)? {
        ui::data(format!("{builder}  {derivation}"));
    }
    Ok(())
}

fn copy_sources(team: &Team) -> Result<()> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo");
    let mut copy = Command::new("cp");
    copy.arg("-r")
        .arg(sources)
        .arg(team.client.path("/home/alice/demo"));
    run::output(&mut copy)
        .map(drop)
        .context("cannot copy the program's source to the client")
}

/// Each derivation and the builder that built it, as the builders' own logs
/// tell: Nix keeps one where it built, and nowhere else.
fn places(team: &Team) -> Result<Vec<(String, String)>> {
    let root = run::output(&mut nix(team, "nix-instantiate"))?;
    let all = run::output(team.client.command(User::Alice, "nix-store").args([
        "--query",
        "--requisites",
        root.trim(),
    ]))?;
    let mut places = Vec::new();
    for path in all.lines().filter(|path| path.ends_with(".drv")) {
        let name = Path::new(path).file_name().and_then(|name| name.to_str());
        let (hash, name) = name
            .and_then(|name| name.split_once('-'))
            .context("an odd path")?;
        let log = format!(
            "/nix/var/log/nix/drvs/{}/{}-{name}.bz2",
            &hash[..2],
            &hash[2..]
        );
        let builder = team.builders.iter().find(|host| host.path(&log).exists());
        let place = builder.map_or("nowhere", |host| host.name());
        places.push((name.to_owned(), place.to_owned()));
    }
    places.sort();
    Ok(places)
}

/// A Nix command about the program, run by someone whom Nix does not trust.
fn nix(team: &Team, program: &str) -> Command {
    let mut command = team.client.command(User::Alice, program);
    command.env("NIX_REMOTE", "daemon").args([
        EXPRESSION,
        "--argstr",
        "system",
        &dispatch::system(),
    ]);
    command
}
