//! From a configured machine to what speaks to it. Connects nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use musher_scheduler::MachineId;
use musher_store::ssh::SshOptions;
use musher_store::url::{SshProtocol, SshStore};
use musher_store::{Connector, OpenError, ServeStore, Way, WorkerStore, ssh_parts};
use tracing::warn;

use crate::builder::Builder;
use crate::builder::serve::ServeBuilder;
use crate::builder::worker::WorkerBuilder;
use crate::config::{Config, Machine};
use crate::core::MachineSetup;

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

/// Every machine of `config` that this release can drive, as the core wants it.
/// The others get no builds, and hold up nobody.
pub(crate) fn machine_setups(
    config: &Config,
    ssh: &SshOptions,
) -> Result<BTreeMap<MachineId, MachineSetup>, FleetError> {
    let mut setups = BTreeMap::new();
    for machine in config.machines() {
        match machine.ssh_store() {
            Ok(store) => {
                let setup = machine_setup(config, machine, store, ssh)?;
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
    store: &SshStore,
    ssh: &SshOptions,
) -> Result<MachineSetup, FleetError> {
    let substitutes = config.settings.builders_use_substitutes;
    let builder = builder(store, ssh, substitutes).map_err(|source| FleetError {
        machine: machine.name.to_string(),
        source,
    })?;
    Ok(MachineSetup {
        spec: machine.spec(),
        shown: machine.connect.place(),
        // Everything that decides how the machine is spoken to.
        connect: format!("{} substitutes={substitutes}", machine.connect),
        builder,
    })
}

/// What speaks to the machine whose store is `store`.
pub(crate) fn builder(
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
                let way = Way::Ssh {
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
