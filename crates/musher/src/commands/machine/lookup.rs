//! Finds a machine of the configuration, or says which there are.

use musher_coordinator::config::{Config, Machine};

use crate::failure::Failure;

#[derive(Debug, thiserror::Error)]
#[error("no machine is called `{name}`")]
struct UnknownMachine {
    name: String,
}

/// The machine called `name`.
pub(super) fn machine<'a>(config: &'a Config, name: &str) -> Result<&'a Machine, Failure> {
    config.machine(name).ok_or_else(|| {
        let names: Vec<_> = config.machines().iter().map(|m| m.name.as_str()).collect();
        let help = (!names.is_empty()).then(|| format!("there are: {}", names.join(", ")));
        let name = name.to_owned();
        Failure::user(UnknownMachine { name }).help(help)
    })
}
