//! The cases, built by Musher's executor in a store of its own, which has the
//! derivations' sources from stock Nix.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::json;

use super::plan::{Manner, Plan};
use super::stock::{Path, VARIABLE, without_colours};
use crate::{
    hosts::{command::User, host::Host},
    run, soundness,
};

/// Who builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    /// Root, in a slot with ids of its own.
    Root,
    /// A user without any rights.
    Rootless,
}

impl Who {
    /// Everybody.
    pub(super) const ALL: [Self; 2] = [Self::Root, Self::Rootless];

    /// As it is called in the list of differences.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Rootless => "rootless",
        }
    }

    fn user(self) -> User {
        match self {
            Self::Root => User::Root,
            Self::Rootless => User::Alice,
        }
    }
}

/// What Musher made of a case.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Ours {
    /// The derivation, absolute.
    pub(super) derivation: String,
    /// The class of its end.
    pub(super) status: String,
    /// What a client is told.
    pub(super) error: String,
    /// The build's log.
    pub(super) log: Vec<String>,
    /// The outputs, by name.
    pub(super) outputs: BTreeMap<String, Path>,
}

impl Ours {
    /// The outputs without their names, as stock Nix tells them.
    pub(super) fn output_paths(&self) -> BTreeSet<Path> {
        self.outputs.values().cloned().collect()
    }
}

/// Builds every case as `who`, and says what came of each.
pub(super) fn build(host: &Host, plan: &Plan, who: Who) -> Result<BTreeMap<String, Ours>> {
    let place = format!("{}/compared", who.user().home());
    host.sh(
        who.user(),
        &format!("mkdir -p {place}/store {place}/builds"),
    )?;
    let mut copy = host.command(who.user(), "nix");
    copy.args(["copy", "--no-check-sigs", "--derivation", "--to"])
        .arg(format!("local?root={place}/store"))
        .args(plan.0.values().map(|case| &case.derivation));
    run::output(&mut copy)?;
    let mut came = BTreeMap::new();
    for manner in Manner::ALL {
        let derivations = plan.derivations(manner);
        if derivations.is_empty() {
            continue;
        }
        let seconds = |wanted| (manner == wanted).then_some(Manner::SECONDS * 1000);
        let mut order = json!({
            "store": format!("{place}/store"),
            "builds": format!("{place}/builds"),
            "derivations": derivations,
            "sandbox_paths": ["/bin", "/usr", "/lib", "/lib64"],
            "features": ["big-parallel", "ca-derivations"],
            "cores": 3,
            "timeout": seconds(Manner::Timeout),
            "max_silent": seconds(Manner::Silence),
            "max_log": (manner == Manner::Log).then_some(Manner::BYTES),
        });
        let mut all = ordered(host, who, &order.to_string())?;
        if manner == Manner::Twice {
            order["mode"] = "check".into();
            all = ordered(host, who, &order.to_string())?;
        }
        came.extend(all.into_iter().map(|one| (one.derivation.clone(), one)));
    }
    let cases = plan.0.iter().map(|(name, case)| {
        let one = came.get(&case.derivation);
        let one = one.with_context(|| format!("nothing came of `{name}`"))?;
        Ok((name.clone(), one.clone()))
    });
    cases.collect()
}

/// Has the host's Nix verify the store that `who` has built in.
pub(super) fn verify(host: &Host, who: Who) -> Result<()> {
    let mut command = host.command(who.user(), "nix-store");
    let store = format!("{}/compared/store", who.user().home());
    soundness::verify(command.args(["--store", &store]))
}

/// Gives `order` to the program that builds.
fn ordered(host: &Host, who: Who, order: &str) -> Result<Vec<Ours>> {
    let mut child = host
        .command(who.user(), "env")
        .arg(format!("{}={}", VARIABLE.0, VARIABLE.1))
        .arg("/usr/local/bin/trial")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the program that builds")?;
    let mut input = child.stdin.take().context("it has no input")?;
    input
        .write_all(order.as_bytes())
        .context("it does not read")?;
    drop(input);
    let output = child.wait_with_output().context("it does not end")?;
    ensure!(output.status.success(), "it ended with {}", output.status);
    let mut all: Vec<Ours> =
        serde_json::from_slice(&output.stdout).context("cannot understand what it says")?;
    for line in all.iter_mut().flat_map(|one| &mut one.log) {
        *line = without_colours(line);
    }
    Ok(all)
}
