//! Trials in which a client goes away, or the daemon does.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::scene::Scene;
use crate::{
    hosts::{command::User, processes::wait_until},
    relay::Link,
    ui,
};

/// How soon after the client is gone its build must be, too.
pub(super) const STOP_WITHIN: Duration = Duration::from_secs(2);

/// How large the input is that an upload is interrupted in, in MiB.
const INPUT: u64 = 256;

/// Ctrl-C in the middle of a build.
pub(super) fn interrupted_build(scene: &Scene) -> Result<()> {
    let building = scene.start("long", &[])?;
    wait_until("a builder has the build running", || {
        let mut found = false;
        for builder in &scene.team.builders {
            found |= super::scene::is_building(builder)?;
        }
        Ok(found)
    })?;
    interrupt(scene)?;
    scene.await_quiet(STOP_WITHIN)?;
    let (output, _) = building.end()?;
    ensure!(!output.status.success(), "`nix-build` succeeded");
    scene.start("steady", &[])?.succeed()?;
    scene.assert_nothing_left()
}

/// Ctrl-C while an input is on its way.
pub(super) fn interrupted_upload(scene: &Scene) -> Result<()> {
    let link = Link {
        delay: Duration::from_millis(5),
        bytes_per_second: Some(16 << 20),
    };
    let relays = scene.point_at(&scene.team.builders, Some(link))?;
    let script = format!("head -c {INPUT}M /dev/urandom > source && nix-store --add source");
    let source = scene.client().sh(User::Alice, &script)?;
    let expression = format!("builtins.storePath \"{}\"", source.trim());
    let building = scene.start("laden", &["--arg", "source", &expression])?;
    wait_until("a quarter of the input is sent", || {
        let sent: u64 = relays.iter().map(crate::relay::Relay::relayed).sum();
        Ok(sent > (INPUT << 20) / 4)
    })?;
    interrupt(scene)?;
    let (output, _) = building.end()?;
    ensure!(!output.status.success(), "`nix-build` succeeded");
    scene.start("steady", &[])?.succeed()?;
    scene.assert_nothing_left()
}

/// `kill -9` of the daemon in the middle of builds.
pub(super) fn killed(scene: &Scene) -> Result<()> {
    let building = scene.start("steady", &[])?;
    scene.await_builds()?;
    if scene.has_musher() {
        scene.client().end_service("musher", "KILL")?;
        scene
            .client()
            .start_service("musher", &["musher", "daemon"])?;
    }
    let taken = building.succeed()?;
    ui::say(format!(
        "the build that was running took {}",
        ui::seconds(taken)
    ));
    scene.start("steady", &[])?.succeed()?;
    scene.assert_nothing_left()
}

/// Interrupts the client's `nix-build` as a terminal does.
fn interrupt(scene: &Scene) -> Result<()> {
    let client = scene.client();
    let started = Instant::now();
    let all = client.processes()?;
    let builds: Vec<u32> = all
        .iter()
        .filter(|p| p.name == "nix-build")
        .map(|p| p.pid)
        .collect();
    ensure!(!builds.is_empty(), "there is no `nix-build` to interrupt");
    client.signal(&builds, "INT")?;
    wait_until("`nix-build` has ended", || {
        Ok(client
            .processes()?
            .iter()
            .all(|process| !builds.contains(&process.pid)))
    })?;
    ui::say(format!(
        "`nix-build` ended in {}",
        ui::seconds(started.elapsed())
    ));
    Ok(())
}
