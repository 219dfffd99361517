//! Whether everything that Musher needs here is as it should be.

use std::collections::BTreeMap;

use musher_coordinator::config::{Config, Machine};
use musher_coordinator::setup::{FileChange, SetupNote};
use musher_protocol::worker::Trust;
use serde::Serialize;

use crate::check::{Check, Finding};
use crate::commands::setup::{SetupPlaces, describe};
use crate::commands::status::LiveRecord;
use crate::context::Context;
use crate::coordinator::Coordinator;
use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::remotes::{ConnectArgs, place, store_failure, with_remotes};
use crate::runtime::block_on;

/// What was looked at, in JSON.
#[derive(Debug, Serialize)]
struct HealthRecord {
    /// Whether nothing failed.
    healthy: bool,
    checks: Vec<Check>,
}

/// The fleet as the coordinator knows it, by name.
type Fleet = BTreeMap<String, LiveRecord>;

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("no machine is defined in `{file}`")]
    NoMachine { file: String },
    #[error("`{path}` does not exist")]
    NoFile { path: String },
    #[error("`{path}` is not as the configuration has it")]
    Stale { path: String },
    #[error("`{path}` does not say {}", quoted(.lines))]
    Lines { path: String, lines: Vec<String> },
    #[error("away: {reason}")]
    Away { reason: String },
}

/// Looks at everything, and tells.
pub(super) fn examine(
    context: &Context,
    setup: &SetupPlaces,
    connect: &ConnectArgs,
) -> Result<Outcome, Failure> {
    let mut checks = Vec::new();
    let config = look(&mut checks, "configuration", configuration(context));
    let fleet = look(&mut checks, "coordinator", coordinator(context));
    if let Some(config) = &config {
        look(
            &mut checks,
            "home store",
            home_store(context, config, connect),
        );
        setup_files(&mut checks, context, setup);
        for machine in config.machines() {
            let name = format!("machine {}", machine.name);
            look(&mut checks, &name, self::machine(machine, fleet.as_ref()));
        }
    }

    let healthy = checks.iter().all(Check::is_well);
    if context.ui.json {
        context.ui.json(&HealthRecord { healthy, checks })?;
    } else {
        let width = checks.iter().map(|check| check.check.len()).max();
        let width = width.unwrap_or(0);
        let text: String = checks.iter().map(|check| check.text("", width)).collect();
        context.ui.text(&text)?;
    }
    Ok(Outcome::of(healthy))
}

/// Notes how a thing is, and passes on what was found.
fn look<T>(
    checks: &mut Vec<Check>,
    name: &str,
    result: Result<(T, Finding), Failure>,
) -> Option<T> {
    let (value, result) = match result {
        Ok((value, finding)) => (Some(value), Ok(finding)),
        Err(failure) => (None, Err(failure)),
    };
    checks.push(Check::new(name, result));
    value
}

fn configuration(context: &Context) -> Result<(Config, Finding), Failure> {
    let config = context.config()?;
    let file = context.places.config.path().display().to_string();
    let finding = match config.machines().len() {
        0 => {
            let help = "define one there, or take over Nix's by `musher machine import FILE`";
            return Err(Failure::user(Problem::NoMachine { file }).help(help.to_owned()));
        }
        1 => Finding::new(format!("1 machine, `{file}`")),
        count => Finding::new(format!("{count} machines, `{file}`")),
    };
    Ok((config, finding))
}

fn coordinator(context: &Context) -> Result<(Fleet, Finding), Failure> {
    let run = &context.places.run;
    let status = block_on(async { Ok(Coordinator::connect(run).await?.status().await?) })?;
    let own = env!("CARGO_PKG_VERSION");
    let other = (status.version != own)
        .then(|| format!("this program is version {own}; restart the coordinator"));
    let finding = Finding::new(format!(
        "version {}, process {}, {} builds",
        status.version,
        status.pid,
        status.builds.len()
    ));
    let machines = status.machines.into_iter();
    let fleet = machines.map(|m| (m.name.clone(), m.into())).collect();
    Ok((fleet, finding.warn(other)))
}

fn home_store(
    context: &Context,
    config: &Config,
    connect: &ConnectArgs,
) -> Result<((), Finding), Failure> {
    let url = &config.settings.home_store;
    let info = with_remotes(context, connect, async |remotes| {
        let pinged = remotes.store(url)?.ping().await;
        pinged.map_err(|error| store_failure("reach", url, error))
    })?;
    let version = info.nix_version.map(|version| format!("Nix {version}, "));
    let finding = Finding::new(format!(
        "`{}`, {}{}",
        place(url),
        version.unwrap_or_default(),
        info.protocol
    ));
    let untrusted = (info.trust == Some(Trust::NotTrusted)).then(|| {
        "it does not trust this user, and so takes only what is signed or content-addressed; add \
         the user to `trusted-users` in nix.conf"
            .to_owned()
    });
    Ok(((), finding.warn(untrusted)))
}

/// The builders file and nix.conf.
fn setup_files(checks: &mut Vec<Check>, context: &Context, setup: &SetupPlaces) {
    let plan = match setup.plan(context) {
        Ok(plan) => plan,
        Err(failure) => return checks.push(Check::new("set-up", Err(failure))),
    };
    look(checks, "builders file", file(&plan.builders, &[]));
    let overridden = (plan.notes.iter())
        .find(|note| matches!(note, SetupNote::IncludedLater { .. }))
        .map(describe);
    let nix_conf = file(&plan.nix_conf, &plan.settings);
    let nix_conf = nix_conf.map(|((), finding)| ((), finding.warn(overridden)));
    look(checks, "nix.conf", nix_conf);
}

/// Whether a file is as `musher setup` would have it; `lines` are what counts.
fn file(change: &FileChange, lines: &[String]) -> Result<((), Finding), Failure> {
    let path = change.path.display().to_string();
    if !change.is_needed() {
        return Ok(((), Finding::new(format!("`{path}`"))));
    }
    let problem = match &change.before {
        None => Problem::NoFile { path },
        Some(text) => {
            let says = |wanted: &String| text.lines().any(|line| line.trim() == wanted);
            let lines: Vec<_> = lines.iter().filter(|line| !says(line)).cloned().collect();
            match lines.is_empty() {
                true => Problem::Stale { path },
                false => Problem::Lines { path, lines },
            }
        }
    };
    let help = "`musher setup` shows the difference, and with `--write` makes it so";
    Err(Failure::user(problem).help(help.to_owned()))
}

fn machine(machine: &Machine, fleet: Option<&Fleet>) -> Result<((), Finding), Failure> {
    machine.driven().map_err(|error| {
        let help = error.help();
        Failure::user(error).help(help)
    })?;
    let name = &machine.name;
    let finding = match fleet.map(|fleet| fleet.get(name.as_str())) {
        None => Finding::new("not looked at while the coordinator is not running")
            .warn(format!("`musher machine test {name}` tries it out")),
        Some(None) => Finding::new("the coordinator does not know it yet")
            .warn("`musher reload` makes it read the configuration".to_owned()),
        Some(Some(live)) if live.state == "away" => {
            let reason = live.reason.clone().unwrap_or_default();
            let help = format!("`musher machine test {name}` tells more");
            return Err(Failure::environment(Problem::Away { reason }).help(help));
        }
        Some(Some(live)) => {
            let nix = (live.nix_version.as_ref()).map(|version| format!("Nix {version}"));
            let said = [
                Some(live.state.clone()),
                nix,
                live.protocol.clone(),
                live.trust.clone(),
            ];
            let said: Vec<_> = said.into_iter().flatten().collect();
            let drained = (live.state == "drained")
                .then(|| format!("`musher machine resume {name}` gives it builds again"));
            Finding::new(said.join(", ")).warn(drained)
        }
    };
    let idle = (machine.max_jobs == 0).then(|| "`max-jobs = 0` keeps it idle".to_owned());
    Ok(((), finding.warn(idle)))
}

fn quoted(lines: &[String]) -> String {
    let quoted: Vec<_> = lines.iter().map(|line| format!("`{line}`")).collect();
    quoted.join(", ")
}
