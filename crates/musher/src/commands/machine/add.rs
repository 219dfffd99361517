//! `musher machine add`

mod enrolment;
mod error;
mod ledger;
mod record;
mod worker;

use std::path::PathBuf;

use clap::Args;
use musher_coordinator::config::{Config, Machine, MachineKind, MachineName};
use musher_coordinator::enrol::Wishes;
use musher_store::url::{Authority, SshStore};

use self::enrolment::Enrolment;
use self::ledger::Ledger;
use super::configuration::existing;
use super::visit::{self, Trust};
use crate::context::Context;
use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::remotes::{ConnectArgs, with_remotes_to_the_end};
use crate::runtime::until_signal;

/// Make any Linux host with sshd a machine that builds; nothing need be installed there
///
/// Logs in with your own ssh, which may ask for a password, looks at the host,
/// and puts there: a key that may start the worker and do nothing else, this
/// very program, and later the worker's store, all below your home directory.
/// Then it builds a little for a test, and adds the machine to musher.toml.
/// Every step is told. If one fails, what was put there is taken away again;
/// if all is there already, nothing changes.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// The host: `[USER@]HOST[:PORT]`, as your ssh knows it
    #[arg(value_name = "USER@HOST[:PORT]")]
    host: String,
    /// What to call the machine [default: the host's name]
    #[arg(long, value_name = "NAME", value_parser = machine_name)]
    name: Option<MachineName>,
    /// The key to log in with from now on [default: one made for this machine]
    #[arg(long, value_name = "FILE")]
    ssh_key: Option<PathBuf>,
    /// Ask nothing, and accept a host key that is not known yet
    #[arg(long, short)]
    yes: bool,
    /// The fingerprint of the host's key, `SHA256:…`; another is refused
    #[arg(long, value_name = "FINGERPRINT")]
    host_key: Option<String>,
    /// How many builds to run at once [default: by processors and memory]
    #[arg(long, value_name = "NUMBER")]
    max_jobs: Option<u32>,
    /// A system to build for, several times for several [default: those it runs]
    #[arg(long = "system", value_name = "SYSTEM")]
    systems: Vec<String>,
    /// A system feature to offer, several times for several [default: those it has]
    #[arg(long = "feature", value_name = "FEATURE")]
    features: Vec<String>,
    /// Keep everything of musher's there in the directory `musher` below this one
    #[arg(long, value_name = "DIR")]
    dir: Option<String>,
    /// The program to put there, for an architecture other than this host's
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Add it even where builds cannot be sandboxed, and sandbox none
    #[arg(long)]
    no_sandbox: bool,
    /// Only look, and print the table that would be added to musher.toml
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

fn machine_name(text: &str) -> Result<MachineName, &'static str> {
    MachineName::parse(text).ok_or("a name has letters, digits, `.`, `_`, `-` and `:`")
}

impl AddArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Failure> {
        let authority = visit::authority(&self.host)?;
        let config = existing(context)?;
        let earlier = self.earlier(&config, &authority);
        with_remotes_to_the_end(context, &config.settings, &self.connect, async |remotes| {
            let mut enrolment = Enrolment {
                context,
                remotes,
                args: &self,
                config: &config,
                authority: &authority,
                earlier,
                ledger: Ledger::default(),
            };
            let result = until_signal(enrolment.run()).await;
            if result.is_err() {
                enrolment.ledger.undo(context.ui).await;
            }
            result
        })
    }

    /// This very machine, if it was added before.
    fn earlier<'a>(&self, config: &'a Config, authority: &Authority) -> Option<&'a Machine> {
        config.machines().iter().find(|machine| {
            let is_it = |store: &SshStore| store.authority == *authority;
            machine.kind == MachineKind::Musher
                && machine.connect.ssh().is_some_and(is_it)
                && self.name.as_ref().is_none_or(|name| *name == machine.name)
        })
    }

    fn wishes(&self) -> Wishes {
        Wishes {
            name: self.name.clone(),
            max_jobs: self.max_jobs,
            systems: self.systems.clone(),
            features: (!self.features.is_empty()).then(|| self.features.clone()),
        }
    }

    fn trust(&self) -> Trust<'_> {
        match (&self.host_key, self.yes) {
            (Some(print), _) => Trust::Fingerprint(print),
            (None, true) => Trust::FirstUse,
            (None, false) => Trust::Ask,
        }
    }
}
