//! From a configured machine to what speaks to it. Connects nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use musher_scheduler::MachineId;
use musher_store::ssh::SshOptions;
use musher_store::url::{SshProtocol, SshStore};
use musher_store::{Connector, OpenError, ServeStore, Way, WorkerStore, ssh_parts};

use crate::builder::Builder;
use crate::builder::serve::ServeBuilder;
use crate::builder::worker::WorkerBuilder;
use crate::config::{Config, NotDrivable};
use crate::core::MachineSetup;

/// Why a configured machine cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// This release does not speak what the machine speaks.
    #[error(transparent)]
    NotDrivable(#[from] NotDrivable),
    /// Its store cannot be opened.
    #[error("machine `{machine}` has a store that cannot be opened")]
    Store {
        /// The machine.
        machine: String,
        /// What is wrong.
        #[source]
        source: OpenError,
    },
}

impl FleetError {
    /// Advice the user can act on, if there is any.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::NotDrivable(error) => error.help(),
            Self::Store { .. } => None,
        }
    }
}

/// Every machine of `config` as the core wants it.
pub(crate) fn machine_setups(
    config: &Config,
    ssh: &SshOptions,
) -> Result<BTreeMap<MachineId, MachineSetup>, FleetError> {
    (config.machines().iter())
        .map(|machine| {
            let store = machine.ssh_store()?;
            let substitutes = config.settings.builders_use_substitutes;
            // Everything that decides how the machine is spoken to.
            let connect = format!("{} substitutes={substitutes}", machine.connect);
            let source = |source| FleetError::Store {
                machine: machine.name.to_string(),
                source,
            };
            let builder = builder(store, ssh, substitutes).map_err(source)?;
            let setup = MachineSetup {
                spec: machine.spec(),
                shown: machine.connect.place(),
                connect,
                builder,
            };
            Ok((setup.spec.id.clone(), setup))
        })
        .collect()
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
