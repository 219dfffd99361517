//! Trials of what is built before a client asks for it: the client is made to
//! stand still once it has asked for the first, and what is built then it did not
//! ask for.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{
    clients::STOP_WITHIN,
    scene::{Scene, is_building},
};
use crate::{
    hosts::{command::User, processes::wait_until},
    run,
};

/// In each chain.
const LINKS: usize = 6;

/// A cache of the client's own.
const CACHE: &str = "file:///var/cache/binaries";

/// All of it, on one team.
pub(super) fn ahead(scene: &Scene) -> Result<()> {
    if !scene.has_musher() {
        return Ok(());
    }
    once(scene).context("a chain")?;
    twice(scene).context("a chain that two want")?;
    broken(scene).context("a chain with a link that fails")?;
    ended(scene).context("a client that ends")?;
    fetched(scene).context("what can be fetched")?;
    scene.assert_nothing_left()
}

/// All is built while the client stands still, and once only.
fn once(scene: &Scene) -> Result<()> {
    let building = scene.start("chain", &[])?;
    let client = hold(scene)?;
    wait_until("all links are built", || {
        Ok(attempts(scene, "link")?.len() == LINKS)
    })?;
    scene.client().signal(&client, "CONT")?;
    building.succeed()?;
    expect(scene, "link", LINKS)
}

/// Two clients want the same at once.
fn twice(scene: &Scene) -> Result<()> {
    let before = attempts(scene, "link")?.len();
    let same = ["--argstr", "nonce", "of two"];
    let clients = [scene.start("chain", &same)?, scene.start("chain", &same)?];
    clients
        .into_iter()
        .try_for_each(|building| building.succeed().map(drop))?;
    expect(scene, "link", before + LINKS)
}

/// The failure of what was built ahead is told once, with its log.
fn broken(scene: &Scene) -> Result<()> {
    let building = scene.start("broken", &[])?;
    let client = hold(scene)?;
    wait_until("the link that fails has failed", || {
        Ok(attempts(scene, "broken")?.len() == 4)
    })?;
    scene.client().signal(&client, "CONT")?;
    let (output, _) = building.end()?;
    ensure!(!output.status.success(), "`nix-build` succeeded");
    let said = run::both_streams(&output);
    // Nix repeats the end of the log behind a `>`.
    let told = (said.lines()).filter(|line| line.trim() == "told by broken-3");
    let told = told.count();
    ensure!(told == 1, "the log was told {told} times:\n{said}");
    expect(scene, "broken", 4)
}

/// What was built ahead ends with the client's process.
fn ended(scene: &Scene) -> Result<()> {
    let building = scene.start("endless", &[])?;
    let client = hold(scene)?;
    wait_until("the endless link is being built", || {
        Ok(attempts(scene, "endless")?.len() == 2 && is_building_anywhere(scene)?)
    })?;
    scene.client().signal(&client, "KILL")?;
    scene.await_quiet(STOP_WITHIN)?;
    let (output, _) = building.end()?;
    ensure!(!output.status.success(), "`nix-build` succeeded");
    Ok(())
}

/// What the client could fetch is not built.
fn fetched(scene: &Scene) -> Result<()> {
    let same = ["--argstr", "nonce", "of a cache"];
    let here = ["--option", "builders", "", "--max-jobs", "1"];
    let client = scene.client();
    let locally = [&same[..], &here[..]].concat();
    scene.start("forked.fetched", &locally)?.succeed()?;
    let line = format!(
        "nix --extra-experimental-features nix-command copy --to {CACHE} \
         $(ls -d /nix/store/*-fetched) && nix-store --delete /nix/store/*-fetched \
         /nix/store/*-base && \
         printf '%s\\n' 'substituters = {CACHE}' 'require-sigs = false' 'substitute = true' \
         >> /etc/nix/nix.conf"
    );
    client.sh(User::Root, &line)?;
    client.restart_nix_daemon()?;
    scene.start("forked", &same)?.succeed()?;
    expect(scene, "base", 1)?;
    expect(scene, "needed", 1)?;
    expect(scene, "fetched", 0)
}

/// Has the client's Nix stand still once a builder builds for it; the process
/// that realises. Other nix-daemons serve the coordinator.
fn hold(scene: &Scene) -> Result<[u32; 1]> {
    wait_until("a builder has a build running", || {
        is_building_anywhere(scene)
    })?;
    let client = scene.client();
    let all = client.processes()?;
    let hook = (all.iter())
        .find(|process| process.command_line.starts_with("nix __build-remote"))
        .context("the client runs no build hook")?;
    let stat = client.read(&format!("/proc/{}/stat", hook.pid))?;
    let parent = stat
        .rsplit(')')
        .next()
        .and_then(|rest| rest.split(' ').nth(2));
    let parent = parent
        .context("the build hook is nobody's child")?
        .parse()?;
    client.signal(&[parent], "STOP")?;
    Ok([parent])
}

fn is_building_anywhere(scene: &Scene) -> Result<bool> {
    let mut found = false;
    for builder in &scene.team.builders {
        found |= is_building(builder)?;
    }
    Ok(found)
}

/// The attempts that ended, of all builds of a package.
fn attempts(scene: &Scene, package: &str) -> Result<Vec<Value>> {
    let mut command = scene.client().command(User::Root, "musher");
    command.args(["history", package, "--json", "--most", "1000"]);
    let output = command.output().context("cannot run `musher history`")?;
    let record: Value =
        serde_json::from_slice(&output.stdout).context("`musher history` is no JSON")?;
    let attempts = record["attempts"].as_array().cloned();
    attempts.context("`musher history` names no attempts")
}

/// Makes sure that there were so many attempts, one for each derivation.
fn expect(scene: &Scene, package: &str, count: usize) -> Result<()> {
    let found = attempts(scene, package)?;
    let mut drvs: Vec<_> = found.iter().map(|attempt| attempt["drv"].clone()).collect();
    drvs.sort_by_key(ToString::to_string);
    drvs.dedup();
    ensure!(
        found.len() == count && drvs.len() == count,
        "{} attempts at {} derivations of `{package}`, not {count}",
        found.len(),
        drvs.len()
    );
    Ok(())
}
