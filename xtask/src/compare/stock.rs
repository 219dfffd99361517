//! The cases, built by the host's own Nix: by root's own hand, without a
//! daemon, in its sandbox.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Output;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use super::plan::{Case, Manner, Plan};
use crate::{
    hosts::{command::User, host::Host},
    run,
};

/// What a build may read of the machine's environment.
pub(super) const VARIABLE: (&str, &str) = ("COMPARED", "of the machine");

/// What stock Nix made of a case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stock {
    /// How `nix-store` ended, which says how the build did.
    pub(super) exit: Option<i32>,
    /// What it printed, without colours.
    pub(super) told: String,
    /// The build's log.
    pub(super) log: Vec<String>,
    /// The outputs that are valid.
    pub(super) outputs: BTreeSet<Path>,
}

/// An output.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(super) struct Path {
    /// Its path, absolute.
    pub(super) path: String,
    /// The hash of its NAR, in base 16.
    pub(super) nar_hash: String,
    /// The length of its NAR.
    pub(super) nar_size: u64,
    /// What it refers to.
    pub(super) references: BTreeSet<String>,
    /// Its content address.
    pub(super) ca: Option<String>,
}

/// Builds every case, and says what came of each.
pub(super) fn build(host: &Host, plan: &Plan) -> Result<BTreeMap<String, Stock>> {
    let built = plan.0.iter().map(|(name, case)| {
        let stock = build_case(host, case).with_context(|| format!("cannot build `{name}`"))?;
        Ok((name.clone(), stock))
    });
    built.collect()
}

fn build_case(host: &Host, case: &Case) -> Result<Stock> {
    let limit = match case.manner {
        Manner::Plain | Manner::Twice => None,
        Manner::Timeout => Some(("timeout", Manner::SECONDS)),
        Manner::Silence => Some(("max-silent-time", Manner::SECONDS)),
        Manner::Log => Some(("max-build-log-size", Manner::BYTES)),
    };
    let realise = |more: &[&str]| -> Result<Output> {
        let mut command = host.command(User::Root, "env");
        command
            .arg(format!("{}={}", VARIABLE.0, VARIABLE.1))
            .args(["nix-store", "--realise", &case.derivation])
            .args(more);
        if let Some((name, value)) = limit {
            command.args(["--option", name, &value.to_string()]);
        }
        run::outcome(&mut command)
    };
    let mut built = realise(&[])?;
    if case.manner == Manner::Twice {
        built = realise(&["--check"])?;
    }
    let outputs = match built.status.success() {
        true => paths(host, &String::from_utf8_lossy(&built.stdout))?,
        false => BTreeSet::new(),
    };
    Ok(Stock {
        exit: built.status.code(),
        told: without_colours(&String::from_utf8_lossy(&built.stderr)),
        log: log(host, &case.derivation)?,
        outputs,
    })
}

fn log(host: &Host, derivation: &str) -> Result<Vec<String>> {
    let mut command = host.command(User::Root, "nix-store");
    // There is none of a build that did not start.
    let read = run::outcome(command.args(["--read-log", derivation]))?;
    let text = String::from_utf8_lossy(&read.stdout).into_owned();
    Ok(text.split_terminator('\n').filter_map(line).collect())
}

/// A line of a log as Nix shows it.
fn line(line: &str) -> Option<String> {
    if let Some(json) = line.strip_prefix("@nix ")
        && let Ok(message) = serde_json::from_str::<Value>(json)
    {
        return match message["action"].as_str() {
            Some("setPhase") => Some(format!("@phase {}", message["phase"].as_str()?)),
            Some("msg") => Some(without_colours(message["msg"].as_str()?)),
            _ => None,
        };
    }
    // Of what was written over, the last is seen.
    let line = line.rsplit('\r').next().unwrap_or_default();
    Some(without_colours(line))
}

/// What is known of the paths that `printed` names, a line each.
fn paths(host: &Host, printed: &str) -> Result<BTreeSet<Path>> {
    let names: Vec<&str> = printed.lines().filter(|line| !line.is_empty()).collect();
    let mut command = host.command(User::Root, "nix-store");
    let dump = run::output(command.arg("--dump-db").args(&names))?;
    let mut command = host.command(User::Root, "nix");
    let infos = run::output(command.args(["path-info", "--json"]).args(&names))?;
    let infos: Value = serde_json::from_str(&infos).context("cannot understand `path-info`")?;
    let mut lines = dump.lines();
    let mut paths = BTreeSet::new();
    while let Some(path) = lines.next() {
        let mut next = || lines.next().context("the registration ends early");
        let nar_hash = next()?.to_owned();
        let nar_size = next()?.parse().context("a size that is no number")?;
        let _deriver = next()?;
        let count: usize = next()?.parse().context("a count that is no number")?;
        let references: Result<_> = (0..count).map(|_| Ok(next()?.to_owned())).collect();
        paths.insert(Path {
            path: path.to_owned(),
            nar_hash,
            nar_size,
            references: references?,
            ca: infos[path]["ca"].as_str().map(str::to_owned),
        });
    }
    Ok(paths)
}

/// `text` without what a terminal takes for colours.
pub(super) fn without_colours(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, rest)| rest);
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_as_nix_shows_them() {
        let phase = r#"@nix {"action":"setPhase","phase":"build"}"#;
        assert_eq!(line(phase).as_deref(), Some("@phase build"));
        assert_eq!(line(r#"@nix {"action":"start"}"#), None);
        assert_eq!(line("10%\r20%").as_deref(), Some("20%"));
        assert_eq!(line("@nix x").as_deref(), Some("@nix x"));
        assert_eq!(without_colours("\u{1b}[31;1mred\u{1b}[0m"), "red");
    }
}
