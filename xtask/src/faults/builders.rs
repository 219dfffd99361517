//! Trials in which builders go wrong.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use super::scene::Scene;
use crate::{
    hosts::{command::User, host::Host},
    relay::Link,
    run, ui,
};

/// How much later than without it the others may be done, once a builder is
/// known to be away.
const DELAY: Duration = Duration::from_secs(1);

/// How long a builder may be silent before it is given up, and a build of its
/// own that is then done elsewhere.
const NOTICE: Duration = Duration::from_secs(6);

/// One builder's sshd stands still; its connections stay open.
pub(super) fn stopped(scene: &Scene) -> Result<()> {
    without_one(scene, Host::stop_sshd)?;
    scene.victim()?.continue_sshd()?;
    scene.assert_nothing_left()
}

/// One builder's cable is pulled.
pub(super) fn unreachable(scene: &Scene) -> Result<()> {
    without_one(scene, Host::disconnect)?;
    scene.victim()?.reconnect()?;
    scene.assert_nothing_left()
}

/// One builder refuses the key, and ends the connections it had.
pub(super) fn refused(scene: &Scene) -> Result<()> {
    without_one(scene, |victim| {
        victim.sh(User::Root, "rm .ssh/authorized_keys")?;
        victim.end_ssh_sessions()
    })?;
    scene.assert_nothing_left()
}

/// Loses a builder in the middle of a build: that build and a new one both
/// end well, and not much later than on the others alone.
fn without_one(scene: &Scene, lose: impl Fn(&Host) -> Result<()>) -> Result<()> {
    let (victim, others) = scene
        .team
        .builders
        .split_last()
        .context("a team has builders")?;
    scene.point_at(others, None)?;
    scene.start("steady", &[])?.succeed()?;
    let on_the_others = scene.start("steady", &[])?.succeed()?;

    scene.point_at(&scene.team.builders, None)?;
    let running = scene.start("steady", &[])?;
    scene.await_builds()?;
    lose(victim)?;
    let took_running = running.succeed().context("the build that was running")?;
    let took_new = scene
        .start("steady", &[])?
        .succeed()
        .context("a new build")?;
    ui::say(format!(
        "on the other three {}, losing one {}, after that {}",
        ui::seconds(on_the_others),
        ui::seconds(took_running),
        ui::seconds(took_new)
    ));
    ensure!(
        took_running <= on_the_others + NOTICE + DELAY,
        "the running build was held up"
    );
    ensure!(
        took_new <= on_the_others + DELAY,
        "the new build was held up"
    );
    Ok(())
}

/// What a builder was known to hold may be gone the next moment.
pub(super) fn garbage(scene: &Scene) -> Result<()> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let collecting = scope.spawn(|| -> Result<u32> {
            let mut rounds = 0;
            while !done.load(Ordering::Relaxed) {
                for builder in &scene.team.builders {
                    run::output(&mut builder.command(User::Root, "nix-collect-garbage"))?;
                }
                rounds += 1;
            }
            Ok(rounds)
        });
        let built = ["needy", "steady", "needy"]
            .into_iter()
            .try_for_each(|attribute| scene.start(attribute, &[])?.succeed().map(drop));
        done.store(true, Ordering::Relaxed);
        let rounds = collecting.join().ok().context("a thread panicked")??;
        ui::say(format!(
            "garbage was collected {rounds} times on each builder"
        ));
        built
    })?;
    scene.assert_nothing_left()
}

/// Builds that fail cost nobody else anything.
pub(super) fn failing(scene: &Scene) -> Result<()> {
    let link = Link::round_trip(Duration::from_millis(50));
    let _relays = scene.point_at(&scene.team.builders, Some(link))?;
    let (output, taken) = scene.start("mixed", &["--keep-going"])?.end()?;
    let told = run::both_streams(&output);
    ensure!(!output.status.success(), "`nix-build` succeeded");
    for number in 0..100 {
        ensure!(
            told.contains(&format!("told by bad-{number}\n")),
            "no log of bad-{number}\n{told}"
        );
    }
    let valid = run::output(
        scene
            .client()
            .command(User::Alice, "sh")
            .args(["-c", "ls -d /nix/store/*-good-*[0-9] | wc -l"]),
    )?;
    if valid.trim() != "100" {
        bail!(
            "{} of 100 good builds are on the client\n{told}",
            valid.trim()
        );
    }
    ui::say(format!(
        "200 builds, half of them failing, in {}",
        ui::seconds(taken)
    ));
    scene.assert_nothing_left()
}
