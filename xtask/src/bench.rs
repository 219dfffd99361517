//! `cargo xtask bench`: Musher beside stock Nix, on the same hosts in the same
//! run. Knows what is measured and in which order; `ways` are what is compared,
//! `figures` what comes out, `report` where it is kept.

mod alone;
mod big;
mod copy;
mod figures;
mod report;
mod scheduler;
mod ways;

use std::{
    process::Command,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};

use self::{
    figures::Row,
    ways::{Way, Ways},
};
use crate::{
    cargo::{self, Profile},
    dispatch,
    hosts::{
        command::User,
        host::{Host, Spec},
        suite::Suite,
        team::Team,
    },
    relay::Link,
    run, ui,
};

const WORKLOADS: &str = include_str!("bench/workloads.nix");

/// Where the expression lies on the client.
const FILE: &str = "/etc/workloads.nix";

/// The Debian of every host.
const SUITE: Suite = Suite::Sid;

const BUILDERS: usize = 4;

/// Of each builder.
const SLOTS: u32 = 4;

/// Measure Musher beside stock Nix and keep the figures in docs/benchmarks.md
#[derive(Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    other: Option<Other>,
    /// How often each figure is measured
    #[arg(long, default_value_t = 3)]
    repeat: usize,
    /// Only this workload; keeps no figures
    #[arg(long, value_enum)]
    only: Option<Workload>,
    /// Only this link; keeps no figures
    #[arg(long, value_enum)]
    link: Option<Place>,
    /// Musher as it is quick to compile; keeps no figures
    #[arg(long)]
    dev: bool,
    /// Without Musher; keeps no figures
    #[arg(long, hide = true)]
    stock: bool,
}

#[derive(Subcommand)]
enum Other {
    Big(big::BigArgs),
    Copy(copy::CopyArgs),
    Scheduler(scheduler::SchedulerArgs),
}

/// What is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Workload {
    /// 100 independent trivial derivations.
    Many,
    /// 30 derivations, each needing the last.
    Chain,
    /// 200 derivations of half a second, all ready at once.
    Ready,
}

impl Workload {
    const ALL: [Self; 3] = [Self::Many, Self::Chain, Self::Ready];

    /// The attribute of `workloads.nix`.
    fn attribute(self) -> &'static str {
        match self {
            Self::Many => "many",
            Self::Chain => "chain",
            Self::Ready => "ready",
        }
    }

    /// In the report.
    fn title(self) -> &'static str {
        match self {
            Self::Many => "`many`: 100 independent trivial derivations",
            Self::Chain => "`chain`: 30, each needing the last",
            Self::Ready => "200 ready builds of 0.5 s against 16 slots",
        }
    }
}

/// How far the builders are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Place {
    /// As near as can be.
    Loopback,
    /// 50 ms there and back.
    Far,
}

impl Place {
    fn link(self) -> Option<Link> {
        match self {
            Self::Loopback => None,
            Self::Far => Some(Link::round_trip(Duration::from_millis(50))),
        }
    }

    /// In the report.
    fn title(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Far => "50 ms",
        }
    }
}

impl BenchArgs {
    fn is_complete(&self) -> bool {
        self.only.is_none() && self.link.is_none() && !self.dev && !self.stock
    }

    /// Whether to measure this. Slots and not the link are what `Ready` is about.
    fn wants(&self, workload: Workload, place: Place) -> bool {
        self.only.is_none_or(|only| only == workload)
            && self.link.is_none_or(|only| only == place)
            && !(workload == Workload::Ready && place == Place::Far)
    }
}

/// Measures everything asked for, prints it, and keeps it if it was everything.
pub(crate) fn run(args: &BenchArgs) -> Result<()> {
    match &args.other {
        Some(Other::Big(args)) => return big::run(args),
        Some(Other::Copy(args)) => return copy::run(args),
        Some(Other::Scheduler(args)) => return scheduler::run(args),
        None => {}
    }
    let profile = Profile::release_if(!args.dev);
    let musher = if args.stock {
        None
    } else {
        Some(cargo::build_musher(profile)?)
    };
    let team = start_team()?;
    let mut rows = Vec::new();
    for place in [Place::Loopback, Place::Far] {
        let workloads: Vec<Workload> = Workload::ALL
            .into_iter()
            .filter(|&workload| args.wants(workload, place))
            .collect();
        if workloads.is_empty() {
            continue;
        }
        let ways = Ways::prepare(&team, musher.as_deref(), place.link())?;
        for workload in workloads {
            rows.push(measure(&team.client, &ways, workload, place, args.repeat)?);
        }
    }
    let table = figures::table(&rows);
    ui::data(&table);
    if args.is_complete() {
        report::keep(&team, &table, args.repeat)?;
    }
    Ok(())
}

/// A client and its builders, with the workloads on the client.
fn start_team() -> Result<Team> {
    let builders = (1..=BUILDERS)
        .map(|number| Spec::new(format!("b{number}"), SUITE).with("max-jobs", SLOTS.to_string()));
    let team = Team::start(Spec::new("client", SUITE), builders.collect())?;
    team.client.write(FILE, WORKLOADS)?;
    Ok(team)
}

/// Measures one workload by every way in turn, so that what drifts on this
/// machine drifts for all of them.
fn measure(
    client: &Host,
    ways: &Ways<'_>,
    workload: Workload,
    place: Place,
    repeat: usize,
) -> Result<Row> {
    let mut row = Row::new(workload, place);
    for _ in 0..repeat {
        for way in ways.all() {
            ways.take(way)?;
            let build = match way {
                Way::Alone => alone::build,
                Way::Local | Way::Stock | Way::StockMaster | Way::Musher => build,
            };
            build(client, "warm")?;
            let taken = build(client, workload.attribute())?;
            ui::say(format!(
                "{}, {}, {}: {}",
                workload.attribute(),
                place.title(),
                way.title(),
                ui::seconds(taken)
            ));
            row.add(way, taken);
        }
    }
    Ok(row)
}

/// Builds derivations never seen before; how long the whole of it took.
fn build(client: &Host, attribute: &str) -> Result<Duration> {
    let mut command = client.command(User::Alice, "nix-build");
    command.env("NIX_REMOTE", "daemon").arg("--no-out-link");
    expression(&mut command, attribute)?;
    let started = Instant::now();
    run::output(&mut command)?;
    Ok(started.elapsed())
}

/// Adds what is to be evaluated: an attribute of the workloads, made new.
fn expression(command: &mut Command, attribute: &str) -> Result<()> {
    let nonce = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .context("no time")?
        .as_nanos();
    command
        .args([FILE, "--attr", attribute])
        .args(["--argstr", "nonce", &nonce.to_string()])
        .args(["--argstr", "system", &dispatch::system()]);
    Ok(())
}
