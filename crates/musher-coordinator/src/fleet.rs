//! From a configured machine to what speaks to it. Connects nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use musher_api::Versions;
use musher_api::worker::Budget;
use musher_scheduler::MachineId;
use musher_store::ssh::SshOptions;
use musher_store::url::{SshProtocol, SshStore};
use musher_store::{Connector, OpenError, ServeStore, WorkerStore, ssh_parts};
use tracing::warn;

use crate::builder::Builder;
use crate::builder::musher::{MusherBuilder, MusherSettings, SUCCESSION};
use crate::builder::serve::ServeBuilder;
use crate::builder::worker::WorkerBuilder;
use crate::config::{Config, Driven, Machine, Settings};
use crate::core::MachineSetup;
use crate::worker::{LocalWorker, Way};

/// A configured machine whose store cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("machine `{machine}` has a store that cannot be opened")]
pub struct FleetError {
    /// The machine.
    pub machine: String,
    /// What is wrong.
    #[source]
    pub source: OpenError,
}

/// What machines are reached with.
#[derive(Debug, Clone)]
pub(crate) struct Reach {
    /// How to use ssh.
    pub(crate) ssh: SshOptions,
    /// Where workers that are children of ours keep what.
    pub(crate) local: LocalPlaces,
    /// What tells this coordinator from others.
    pub(crate) coordinator: String,
}

/// Where workers that are children of a process keep what.
#[derive(Debug, Clone)]
pub struct LocalPlaces {
    /// This release of Musher's.
    pub program: PathBuf,
    /// The process's directory of what is kept.
    pub state: PathBuf,
    /// Its directory of sockets.
    pub run: PathBuf,
}

impl LocalPlaces {
    /// The worker of the machine called `machine`, with a store of its own.
    pub fn worker(&self, machine: &str) -> LocalWorker {
        let below = |dir: &PathBuf| dir.join("machines").join(machine);
        LocalWorker::new(self.program.clone(), below(&self.state), below(&self.run))
    }
}

/// Every machine of `config` that can be driven, as the core wants it. The
/// others get no builds, and hold up nobody.
///
/// Must be called within a tokio runtime.
pub(crate) fn machine_setups(
    config: &Config,
    reach: &Reach,
) -> Result<BTreeMap<MachineId, MachineSetup>, FleetError> {
    let mut setups = BTreeMap::new();
    for machine in config.machines() {
        match machine.driven() {
            Ok(driven) => {
                let setup = machine_setup(config, machine, driven, reach)?;
                setups.insert(setup.spec.id.clone(), setup);
            }
            Err(error) => {
                let help = error.help();
                warn!(%error, help, "machine left out");
            }
        }
    }
    Ok(setups)
}

fn machine_setup(
    config: &Config,
    machine: &Machine,
    driven: Driven<'_>,
    reach: &Reach,
) -> Result<MachineSetup, FleetError> {
    let way = match driven {
        Driven::Nix(store) => {
            let substitutes = config.settings.builders_use_substitutes;
            let builder = nix_builder(store, &reach.ssh, substitutes);
            let builder = builder.map_err(|source| FleetError {
                machine: machine.name.to_string(),
                source,
            })?;
            return Ok(setup(
                machine,
                builder,
                &format!("substitutes={substitutes}"),
            ));
        }
        Driven::SshWorker(store) => Way::ssh(store, &reach.ssh),
        Driven::ExecWorker(words) => Way::Exec(words.to_vec()),
        Driven::LocalWorker => Way::Local(reach.local.worker(machine.name.as_str())),
    };
    let settings = musher_settings(&config.settings, machine, reach);
    let more = format!("{:?} {:?}", settings.sandbox_paths, settings.budget);
    let builder = Arc::new(MusherBuilder::new(way, settings));
    Ok(setup(machine, builder, &more))
}

/// The machine that `builder` speaks to. What decides how besides the way to
/// it is `more`.
fn setup(machine: &Machine, builder: Arc<dyn Builder>, more: &str) -> MachineSetup {
    MachineSetup {
        spec: machine.spec(),
        shown: machine.connect.place(),
        connect: format!("{} {more}", machine.connect),
        is_child: matches!(machine.driven(), Ok(Driven::LocalWorker)),
        builder,
    }
}

fn musher_settings(settings: &Settings, machine: &Machine, reach: &Reach) -> MusherSettings {
    let budget = Budget {
        max_store_bytes: settings.max_store_size.unwrap_or_default(),
        min_free_bytes: settings.min_free.unwrap_or_default(),
    };
    MusherSettings {
        coordinator: reach.coordinator.clone(),
        sandbox_paths: settings.sandbox_paths(Some(machine)),
        timeout: settings.connect_timeout,
        succession: SUCCESSION,
        budget: Some(budget),
        versions: Versions::OURS,
    }
}

/// What speaks to the stock Nix whose store is `store`.
pub(crate) fn nix_builder(
    store: &SshStore,
    ssh: &SshOptions,
    substitutes: bool,
) -> Result<Arc<dyn Builder>, OpenError> {
    let parts = ssh_parts(store, ssh)?;
    let (link, store_dir) = (parts.link, parts.store_dir);
    Ok(match store.protocol {
        SshProtocol::Worker => {
            let worker = Arc::new(WorkerStore::new(parts.connector, store_dir, None));
            Arc::new(WorkerBuilder::new(link, worker, substitutes))
        }
        SshProtocol::Serve => {
            // With a program of the user's own nobody knows what else is there.
            let daemon = store.remote_program.is_empty().then(|| {
                let mut asked = store.clone();
                asked.protocol = SshProtocol::Worker;
                let way = musher_store::Way::Ssh {
                    link: link.clone(),
                    command: asked.remote_command(),
                };
                let connector = Connector {
                    way,
                    timeout: parts.connector.timeout,
                };
                WorkerStore::new(connector, store_dir.clone(), None)
            });
            let serve = Arc::new(ServeStore::new(parts.connector, store_dir));
            Arc::new(ServeBuilder::new(link, serve, daemon, substitutes))
        }
    })
}
