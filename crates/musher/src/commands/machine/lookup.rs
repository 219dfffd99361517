//! Finds a machine of the fleet, or says which there are, and why.

use musher_coordinator::config::{Config, Machine};

use crate::context::Context;
use crate::failure::Failure;

#[derive(Debug, thiserror::Error)]
#[error("no machine is called `{name}`")]
struct UnknownMachine {
    name: String,
}

/// Says so if the fleet is there because no machine is configured.
pub(super) fn note_default(context: &Context, config: &Config) {
    if config.is_default_fleet() {
        let file = context.places.config.path().display();
        let text = format!("no machine is defined in `{file}`: this is the default fleet");
        context.ui.note(&text);
    }
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
