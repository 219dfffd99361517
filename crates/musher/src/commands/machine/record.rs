//! A machine as the commands show it.

use musher_coordinator::config::{Config, Machine};
use serde::Serialize;

/// A machine in JSON. The names are those of `musher.toml` where it has them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct MachineRecord {
    pub(super) name: String,
    pub(super) connect: String,
    pub(super) kind: &'static str,
    pub(super) systems: Vec<String>,
    pub(super) max_jobs: u32,
    pub(super) speed_factor: f64,
    pub(super) supported_features: Vec<String>,
    pub(super) mandatory_features: Vec<String>,
    /// `file:line:column`; null for one of the default fleet.
    pub(super) defined_at: Option<String>,
    /// Why it gets no builds; null if it does.
    pub(super) not_drivable: Option<String>,
}

impl MachineRecord {
    /// The record of a machine of `config`.
    pub(super) fn new(config: &Config, machine: &Machine) -> Self {
        Self {
            name: machine.name.to_string(),
            connect: machine.connect.to_string(),
            kind: machine.kind.as_str(),
            systems: machine.systems.iter().cloned().collect(),
            max_jobs: machine.max_jobs,
            speed_factor: machine.speed_factor.value(),
            supported_features: machine.supported_features.iter().cloned().collect(),
            mandatory_features: machine.mandatory_features.iter().cloned().collect(),
            defined_at: (!config.is_default_fleet()).then(|| machine.origin.to_string()),
            not_drivable: machine.driven().err().map(|error| error.to_string()),
        }
    }
}
