//! `cargo xtask compare`: derivations built by stock Nix and by Musher's
//! executor on the same host, as root and as a user without rights. What
//! differs must stand in `docs/executor-differences.md`, with its reason; what
//! stands there must differ.

mod accepted;
mod difference;
mod ours;
mod plan;
mod stock;

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;

use self::accepted::Accepted;
use self::difference::{Difference, differences};
use self::ours::Who;
use self::plan::Plan;
use crate::{
    cargo,
    hosts::{
        command::User,
        host::{Host, Spec},
        suite::Suite,
    },
    ui,
};

/// Where the differences and their reasons stand.
const DOCUMENT: &str = "docs/executor-differences.md";

/// What every case is built with, besides what a host has.
const SETTINGS: [(&str, &str); 2] = [
    ("cores", "3"),
    ("system-features", "big-parallel ca-derivations"),
];

/// Build derivations with stock Nix and with Musher's executor, and compare
#[derive(Args)]
pub(crate) struct CompareArgs {
    /// The Debian whose Nix to compare with
    #[arg(long, value_enum, default_value = "sid")]
    suite: Suite,
    /// Only cases whose names contain this
    #[arg(long)]
    only: Option<String>,
    /// Print every difference with what each side has
    #[arg(long)]
    verbose: bool,
}

impl CompareArgs {
    /// What CI checks.
    pub(crate) fn all() -> Self {
        Self {
            suite: Suite::Sid,
            only: None,
            verbose: false,
        }
    }
}

/// Compares, and fails if something differs that should not, or no longer does
/// what should.
pub(crate) fn run(args: &CompareArgs) -> Result<()> {
    let program = cargo::build_program("musher-worker", "musher-executor-trial")?;
    let document = cargo::root().join(DOCUMENT);
    let document = fs::read_to_string(&document)
        .with_context(|| format!("cannot read `{}`", document.display()))?;
    let accepted = Accepted::read(&document)?;
    let mut spec = Spec::new("compare", args.suite);
    for (name, value) in SETTINGS {
        spec = spec.with(name, value);
    }
    let host = Host::start(spec)?;
    let version = host.sh(User::Root, "nix --version")?;
    host.install(&program, "/usr/local/bin/trial")?;
    let plan = ui::step("instantiate", || Plan::make(&host, args.only.as_deref()))?;
    let stock = ui::step("build with stock Nix", || stock::build(&host, &plan))?;
    let mut found = Vec::new();
    for who in Who::ALL {
        let started = Instant::now();
        let ours = ours::build(&host, &plan, who)
            .with_context(|| format!("cannot build with Musher as {}", who.name()))?;
        for (name, stock) in &stock {
            let ours = ours.get(name);
            let ours = ours.with_context(|| format!("nothing is known of `{name}`"))?;
            found.extend(differences(name, who, stock, ours));
        }
        ours::verify(&host, who)
            .with_context(|| format!("the store built in as {} is not sound", who.name()))?;
        ui::say(format!(
            "built with Musher as {} in {}",
            who.name(),
            ui::seconds(started.elapsed())
        ));
    }
    ui::data(format!(
        "{} cases, {}, as root and as another user",
        stock.len(),
        version.trim()
    ));
    judge(args, &accepted, &found)
}

fn judge(args: &CompareArgs, accepted: &Accepted, found: &[Difference]) -> Result<()> {
    let mut unknown = 0;
    for difference in found {
        match accepted.reason(difference) {
            Some(reason) if args.verbose => {
                ui::data(format!("differs: {difference}\n  because {reason}"));
            }
            Some(_) => {}
            None => {
                unknown += 1;
                ui::data(format!("DIFFERS: {difference}"));
            }
        }
    }
    // With some cases only, the others' differences are not seen.
    let gone = match args.only {
        None => accepted.unseen(found),
        Some(_) => Vec::new(),
    };
    for entry in &gone {
        ui::data(format!("NO LONGER DIFFERS: {entry}"));
    }
    ui::data(format!(
        "{} differences, of which {unknown} are not in `{DOCUMENT}`",
        found.len()
    ));
    if unknown > 0 || !gone.is_empty() {
        bail!("the executor differs otherwise than `{DOCUMENT}` says");
    }
    Ok(())
}
