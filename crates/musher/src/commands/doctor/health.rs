//! Whether everything that Musher needs here is as it should be.

use std::collections::BTreeMap;
use std::path::PathBuf;

use musher_coordinator::config::{Config, Machine};
use musher_coordinator::setup::{FileChange, SetupNote};
use musher_protocol::worker::Trust;
use musher_store::local::{Access, LocalError, LocalOptions, LocalStore};
use musher_store::url::StoreUrl;
use musher_store::{has_nix, own_home};
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
use crate::ui::quantity;

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
    #[error("cannot read musher's own store in `{dir}`")]
    HomeStore { dir: String, source: LocalError },
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
    let hook = config.as_ref().map_or(Hook::Wanted, |config| {
        Hook::of(config, setup.names_nix_conf())
    });
    let coordinator = coordinator(context, config.as_ref(), &hook);
    let fleet = look(&mut checks, "coordinator", coordinator).flatten();
    if let Some(config) = &config {
        look(
            &mut checks,
            "home store",
            home_store(context, config, connect),
        );
        match &hook {
            Hook::None { why } => checks.push(Check::new("nix.conf", Ok(Finding::new(*why)))),
            Hook::Wanted => setup_files(&mut checks, context, setup),
        }
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

/// Whether stock Nix of this host is to build through us.
enum Hook {
    Wanted,
    /// It is not, and so nothing has to be set up for it.
    None {
        why: &'static str,
    },
}

impl Hook {
    /// `asked` if the command line names the files of Nix.
    fn of(config: &Config, asked: bool) -> Self {
        let is_own = matches!(
            config.settings.home_store,
            StoreUrl::Auto(_) | StoreUrl::Local(_)
        );
        let why = if asked {
            return Self::Wanted;
        } else if is_own && !has_nix() {
            "not looked at: no Nix is found on this host, and `musher build` needs none"
        } else if config.is_default_fleet() {
            "not looked at: no machine is defined that Nix could build on through musher"
        } else {
            return Self::Wanted;
        };
        Self::None { why }
    }
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
    let config = context.fleet()?;
    let file = context.places.config.path().display();
    let text = match config.machines().len() {
        count if config.is_default_fleet() => {
            format!(
                "the default fleet, {count} workers on this machine: none is defined in `{file}`"
            )
        }
        1 => format!("1 machine, `{file}`"),
        count => format!("{count} machines, `{file}`"),
    };
    Ok((config, Finding::new(text)))
}

/// How the coordinator is, and its fleet. It need not run where whoever needs one
/// starts it: only stock Nix that is to build on the machines and has a store of
/// its own waits for one instead.
fn coordinator(
    context: &Context,
    config: Option<&Config>,
    hook: &Hook,
) -> Result<(Option<Fleet>, Finding), Failure> {
    let run = &context.places.run;
    let is_own = |config: &Config| {
        let own = own_home(&config.settings.home_store, &context.places.state);
        matches!(own, Ok(Some(_)))
    };
    let starts = matches!(hook, Hook::None { .. }) || config.is_some_and(is_own);
    let status = block_on(async {
        let mut coordinator = match Coordinator::connect(run).await {
            Err(error) if error.is_not_running() && starts => return Ok(None),
            connected => connected?,
        };
        Ok(Some(coordinator.status().await?))
    })?;
    let Some(status) = status else {
        let text = "not running; it is started when something is to be built";
        return Ok((None, Finding::new(text)));
    };
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
    Ok((Some(fleet), finding.warn(other)))
}

fn home_store(
    context: &Context,
    config: &Config,
    connect: &ConnectArgs,
) -> Result<((), Finding), Failure> {
    let url = &config.settings.home_store;
    if let Some(options) = own_home(url, &context.places.state)? {
        return Ok(((), on_disk(options)?));
    }
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

/// A store that we look after ourselves. It is not made by looking at it.
fn on_disk(options: LocalOptions) -> Result<Finding, Failure> {
    let dir = options.root.clone().unwrap_or_else(|| PathBuf::from("/"));
    let dir = dir.display();
    let opened = LocalStore::open(LocalOptions {
        access: Access::ReadOnly,
        ..options
    });
    let size = opened.and_then(|store| store.size());
    match size {
        Ok(size) => Ok(Finding::new(format!(
            "musher's own, in `{dir}`, {}",
            quantity::size(size)
        ))),
        Err(LocalError::NoStore { .. }) => Ok(Finding::new(format!(
            "musher's own; the first build makes it, in `{dir}`"
        ))),
        Err(source) => {
            let help = source.help();
            let dir = dir.to_string();
            Err(Failure::environment(Problem::HomeStore { dir, source }).help(help))
        }
    }
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
