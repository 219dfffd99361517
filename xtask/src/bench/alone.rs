//! Building by `musher build` on one worker on the client, with the client's Nix
//! store as the home store. Knows nothing of the team.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{SLOTS, expression};
use crate::{
    dispatch::{SANDBOX_PATHS, system},
    hosts::{command::User, host::Host},
    run,
};

const CONFIG: &str = "/etc/musher-alone/musher.toml";

/// An installation beside that of the hook entrance.
const PLACES: [&str; 6] = [
    "--config",
    CONFIG,
    "--run",
    "/run/musher-alone",
    "--state",
    "/var/lib/musher-alone",
];

/// Says what the one worker is like; the first build starts it.
pub(super) fn prepare(client: &Host) -> Result<()> {
    let system = system();
    client.write(
        CONFIG,
        format!(
            "[[machine]]\n\
             name = \"one\"\n\
             connect = \"local\"\n\
             kind = \"musher\"\n\
             systems = [\"{system}\"]\n\
             max-jobs = {SLOTS}\n\
             {SANDBOX_PATHS}\n"
        ),
    )
}

/// Builds derivations never seen before; how long evaluating and building took.
pub(super) fn build(client: &Host, attribute: &str) -> Result<Duration> {
    let mut evaluate = client.command(User::Root, "nix-instantiate");
    evaluate.env("NIX_REMOTE", "daemon");
    expression(&mut evaluate, attribute)?;
    let started = Instant::now();
    let derivations = run::output(&mut evaluate)?;
    run::output(
        client
            .command(User::Root, "musher")
            .args(PLACES)
            .args(["build", "--no-link"])
            .args(derivations.split_whitespace()),
    )?;
    Ok(started.elapsed())
}
