//! `cargo xtask bench big`: the most memory that Musher's processes take while
//! an output of 4 GiB passes through them.

use std::{collections::BTreeMap, thread, time::Duration};

use anyhow::{Context, Result, bail};
use clap::Args;

use super::{
    build, start_team,
    ways::{Way, Ways},
};
use crate::{
    cargo::{self, Profile},
    hosts::host::Host,
    ui,
};

/// What daemon and session may take together, in bytes.
const LIMIT: u64 = 128 << 20;

/// How often memory is looked at. The kernel keeps each process's peak; only
/// what a process does in its last moments goes unseen.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Pass an output of 4 GiB through Musher and see how much memory that takes
#[derive(Args)]
pub(crate) struct BigArgs {}

/// Fails above the limit.
pub(super) fn run(_: &BigArgs) -> Result<()> {
    let musher = cargo::build_musher(Profile::Release)?;
    let team = start_team()?;
    let ways = Ways::prepare(&team, Some(&musher), None)?;
    ways.take(Way::Musher)?;
    let mut peaks = BTreeMap::new();
    let taken = thread::scope(|scope| {
        let building = scope.spawn(|| build(&team.client, "big"));
        while !building.is_finished() {
            look(&team.client, &mut peaks)?;
            thread::sleep(LOOK_EVERY);
        }
        building.join().ok().context("a thread panicked")?
    })?;
    let mut together = 0;
    for (command_line, bytes) in peaks.values() {
        ui::data(format!("{:6.1} MiB  {command_line}", mebibytes(*bytes)));
        together += bytes;
    }
    ui::data(format!(
        "{:6.1} MiB  together, {}",
        mebibytes(together),
        ui::seconds(taken)
    ));
    if together > LIMIT {
        bail!("more than {:.0} MiB", mebibytes(LIMIT));
    }
    Ok(())
}

/// Remembers the peak of every `musher` that runs, by its process id.
fn look(client: &Host, peaks: &mut BTreeMap<u32, (String, u64)>) -> Result<()> {
    for process in client
        .processes()?
        .into_iter()
        .filter(|process| process.name == "musher")
    {
        // One that ended since it was listed keeps the peak seen last.
        if let Ok(bytes) = client.peak_memory(process.pid) {
            peaks.insert(process.pid, (process.command_line, bytes));
        }
    }
    Ok(())
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
