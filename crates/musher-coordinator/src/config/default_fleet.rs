//! The machines of a configuration that names none: this one, as two workers
//! with stores of their own. Two, so that what a team does can be seen on one.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::path::Path;

use musher_api::features;
use musher_scheduler::SpeedFactor;
use rustix::fs::Access;

use super::machine::{Connect, Machine, MachineKind};
use super::machine_name::MachineName;
use super::position::Position;
use super::{Config, ConfigError, ConfigFile, host_system};

/// What the names of such machines begin with.
const NAME: &str = "local-";

/// How many there are.
const MACHINES: u32 = 2;

impl Config {
    /// Reads `file` as the coordinator does: if it names no machine, this one is
    /// the fleet.
    pub fn load_fleet(file: &ConfigFile) -> Result<Self, ConfigError> {
        let config = Self::load(file, &host_system())?;
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let kvm = rustix::fs::access("/dev/kvm", Access::READ_OK | Access::WRITE_OK).is_ok();
        Ok(config.or_local_workers(file.path(), cores, kvm))
    }

    /// Whether its machines are the local workers of a configuration that names
    /// none.
    pub fn is_default_fleet(&self) -> bool {
        self.is_default_fleet
    }

    /// The same with two local workers, if there is no machine. They share the
    /// `cores` of this machine; `kvm` says whether it can run virtual machines.
    /// They could stand in `file`.
    fn or_local_workers(mut self, file: &Path, cores: usize, kvm: bool) -> Self {
        if !self.machines.is_empty() {
            return self;
        }
        self.is_default_fleet = true;
        let slots = u32::try_from(cores).unwrap_or(u32::MAX) / MACHINES;
        let names =
            (1..=MACHINES).filter_map(|number| MachineName::parse(&format!("{NAME}{number}")));
        let features = features::USUAL.into_iter().chain(kvm.then_some("kvm"));
        let features: BTreeSet<_> = features.map(str::to_owned).collect();
        self.machines = names
            .map(|name| Machine {
                name,
                connect: Connect::Local,
                kind: MachineKind::Musher,
                systems: [host_system()].into(),
                max_jobs: slots.max(1),
                speed_factor: SpeedFactor::ONE,
                supported_features: features.clone(),
                mandatory_features: BTreeSet::new(),
                sandbox_paths: None,
                origin: Position {
                    file: file.to_owned(),
                    line: 1,
                    column: 1,
                },
            })
            .collect();
        self
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;

    fn names(text: &str, cores: usize) -> Vec<(String, u32)> {
        let file = Path::new("musher.toml");
        let config = Config::parse(text, file, "x86_64-linux").expect("a configuration");
        let config = config.or_local_workers(file, cores, true);
        assert_eq!(config.is_default_fleet(), text.is_empty());
        let machines = config.machines().iter();
        machines
            .map(|machine| (machine.name.to_string(), machine.max_jobs))
            .collect()
    }

    #[test]
    fn only_where_none_is_named_there_are_local_workers() {
        let local = |slots| vec![("local-1".to_owned(), slots), ("local-2".to_owned(), slots)];
        assert_eq!(names("", 8), local(4));
        assert_eq!(names("", 1), local(1));
        let text = "[[machine]]\nname = \"b1\"\nconnect = \"ssh://b1\"\n";
        assert_eq!(names(text, 8), [("b1".to_owned(), 1)]);
    }

    #[test]
    fn they_offer_what_every_worker_can() {
        let file = Path::new("musher.toml");
        let config = Config::parse("", file, "x86_64-linux").expect("a configuration");
        let config = config.or_local_workers(file, 1, false);
        let offered = &config.machines()[0].supported_features;
        assert!(offered.contains("ca-derivations"), "{offered:?}");
    }
}
