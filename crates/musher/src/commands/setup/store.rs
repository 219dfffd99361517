//! `musher setup --store`: the line by which Musher is a user's store.

use std::path::{Path, PathBuf};

use musher_coordinator::DaemonPlaces;
use musher_coordinator::setup::StoreSetup;
use musher_store::own_home;
use musher_store::url::{DaemonStore, LocalParams, StoreUrl};
use nix_derivation::StoreDir;
use rustix::process::geteuid;
use serde::Serialize;

use super::diff;
use crate::context::Context;
use crate::failure::Failure;
use crate::outcome::Outcome;

/// A home store that a client of the socket would not find on its own disk.
#[derive(Debug, thiserror::Error)]
#[error("the home store is `{home}`, and not this machine's Nix store")]
struct OtherStore {
    home: String,
}

/// Root's own `nix.conf`.
#[derive(Debug, thiserror::Error)]
#[error("root's nix.conf is read by nix-daemon, which would then look for its store here")]
struct RootsFile;

/// What was done or would be, in JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct StoreRecord<'a> {
    nix_conf: &'a Path,
    diff: String,
    /// The line that nix.conf must have.
    setting: &'a str,
    /// The variable that does the same.
    environment: &'a str,
    /// Whether nix.conf was written.
    written: bool,
}

/// Prints the line, or puts it into `nix_conf`, the user's own unless it is
/// named.
pub(super) fn run(
    context: &Context,
    nix_conf: Option<PathBuf>,
    write: bool,
) -> Result<Outcome, Failure> {
    let home = context.config()?.settings.home_store;
    if own_home(&home, &context.places.state)?.is_some() || !is_this_machines(&home) {
        let help = "a `unix://` client reads logs and files from its own disk; have clients come \
                    by `ssh-ng://`, or name where they lie by `?root=DIR` in the URL";
        let home = home.to_string();
        return Err(Failure::user(OtherStore { home }).help(Some(help.to_owned())));
    }
    let is_roots = nix_conf.is_none() && geteuid().is_root();
    if write && is_roots {
        let help = "let users write their own, or set the variable for all of them; both are shown \
                    without `--write`";
        return Err(Failure::user(RootsFile).help(Some(help.to_owned())));
    }
    let nix_conf = match nix_conf {
        Some(path) => path,
        None => context.places.nix_conf_dir()?.join("nix.conf"),
    };
    let socket = DaemonPlaces::store_socket(&context.places.run);
    let store_dir = StoreDir::default().to_string();
    let plan = StoreSetup::plan(&socket, &nix_conf, store_dir.as_ref())?;
    let ui = &context.ui;
    if write && !ui.json {
        ui.diff(&diff(&plan.nix_conf))?;
    }
    let written = write && plan.apply()?;
    if ui.json {
        ui.json(&StoreRecord {
            nix_conf: &plan.nix_conf.path,
            diff: diff(&plan.nix_conf),
            setting: &plan.setting,
            environment: &plan.environment,
            written,
        })?;
        return Ok(Outcome::Done);
    }
    match (write, written) {
        (false, _) => {
            let file = match is_roots {
                true => "a user's ~/.config/nix/nix.conf".to_owned(),
                false => plan.nix_conf.path.display().to_string(),
            };
            let text = format!(
                "# {file}\n{}\n# or in the environment\n{}\n",
                plan.setting, plan.environment
            );
            ui.text(&text)?;
        }
        (true, true) => ui.note(&format!("wrote `{}`", plan.nix_conf.path.display())),
        (true, false) => ui.note("everything is set up already"),
    }
    Ok(Outcome::Done)
}

/// Whether the files of such a store lie where every client looks.
fn is_this_machines(home: &StoreUrl) -> bool {
    let is_usual = |params: &LocalParams| params.root.is_none() && params.store_dir.is_none();
    match home {
        StoreUrl::Auto(params) | StoreUrl::Daemon(DaemonStore { params, .. }) => is_usual(params),
        StoreUrl::Local(_) | StoreUrl::Ssh(_) => false,
    }
}
