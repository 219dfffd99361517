//! What every command is given.

use musher_coordinator::config::{Config, host_system};

use crate::cli::GlobalArgs;
use crate::failure::Failure;
use crate::places::Places;
use crate::ui::Ui;

/// Where things are, and how to speak to the user. Cheap to make: `serve` is
/// started for every build.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) places: Places,
    pub(crate) ui: Ui,
}

impl Context {
    pub(crate) fn new(args: &GlobalArgs, ui: Ui) -> Result<Self, Failure> {
        Ok(Self {
            places: Places::find(args)?,
            ui,
        })
    }

    /// Reads the configuration.
    pub(crate) fn config(&self) -> Result<Config, Failure> {
        Ok(Config::load(&self.places.config, &host_system())?)
    }

    /// The same with the machines that a coordinator would build on, even where
    /// none is named.
    pub(crate) fn fleet(&self) -> Result<Config, Failure> {
        Ok(Config::load_fleet(&self.places.config)?)
    }
}
