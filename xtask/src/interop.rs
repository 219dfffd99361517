//! `cargo xtask interop`: real Nix of several versions on both sides of Musher.
//! Every client builds on every builder by both schemes, and on a host without
//! Nix; `cell` is one of those.

mod attempt;
mod bare;
mod cell;

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::Args;

use self::cell::{Builder, Cell};
pub(crate) use self::{bare::drive, cell::BARE};
use crate::{
    cargo::{self, Profile},
    dispatch::Scheme,
    hosts::{host::Spec, suite::Suite, team::Team},
    ui,
};

/// Build on every Nix from every Nix, over ssh
#[derive(Args)]
pub(crate) struct InteropArgs {
    /// Only clients of this Debian
    #[arg(long, value_enum)]
    client: Option<Suite>,
    /// Only builders of this Debian
    #[arg(long, value_enum)]
    builder: Option<Suite>,
    /// Only builders without Nix
    #[arg(long, conflicts_with = "builder")]
    bare: bool,
    /// Only this way of speaking to builders
    #[arg(long, value_enum)]
    scheme: Option<Scheme>,
    /// Oldest against newest only
    #[arg(long)]
    quick: bool,
    /// Musher as it is released, which takes longer to compile
    #[arg(long)]
    release: bool,
    /// By stock remote building, without Musher
    #[arg(long, hide = true)]
    stock: bool,
}

impl InteropArgs {
    /// The whole matrix.
    pub(crate) fn all() -> Self {
        Self {
            client: None,
            builder: None,
            bare: false,
            scheme: None,
            quick: false,
            release: false,
            stock: false,
        }
    }

    fn wants(&self, cell: &Cell) -> bool {
        (!self.stock || (cell.is_for_stock() && !cell.builder.is_bare()))
            && (!self.bare || cell.builder.is_bare())
            && self.client.is_none_or(|suite| suite == cell.client)
            && (self.builder).is_none_or(|suite| Builder::Nix(suite) == cell.builder)
            && self.scheme.is_none_or(|scheme| scheme == cell.scheme)
            && !(self.quick && cell.is_between())
    }
}

/// Runs the cells asked for, all of them even when one fails.
pub(crate) fn run(args: &InteropArgs) -> Result<()> {
    let cells: Vec<Cell> = Cell::all()
        .into_iter()
        .filter(|cell| args.wants(cell))
        .collect();
    let musher = if args.stock {
        None
    } else {
        Some(cargo::build_musher(Profile::release_if(args.release))?)
    };
    let nonce = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .context("no time")?
        .as_nanos();
    let mut failed = 0;
    for client in Suite::ALL {
        let own: Vec<&Cell> = cells.iter().filter(|cell| cell.client == client).collect();
        if own.is_empty() {
            continue;
        }
        let mut builders: Vec<Spec> = Suite::ALL
            .into_iter()
            // The newest Nix verifies what Musher wrote.
            .filter(|&suite| !args.bare || suite == Suite::Sid)
            .map(|suite| Spec::new(suite.name(), suite))
            .collect();
        if own.iter().any(|cell| cell.builder.is_bare()) {
            builders.push(Spec::new(BARE, Suite::Bookworm).bare());
        }
        let team = Team::start(Spec::new("client", client), builders)?;
        for (number, cell) in own.into_iter().enumerate() {
            let started = Instant::now();
            let problems = cell.check(&team, musher.as_deref(), &format!("{nonce}-{number}"));
            let verdict = if problems.is_empty() { "ok" } else { "FAILED" };
            ui::say(format!(
                "{cell}: {verdict} in {}",
                ui::seconds(started.elapsed())
            ));
            failed += usize::from(!problems.is_empty());
            for problem in problems {
                ui::say(format!("  {}", problem.replace('\n', "\n    ")));
            }
        }
    }
    if failed > 0 {
        bail!("{failed} of {} cells failed", cells.len());
    }
    Ok(())
}
