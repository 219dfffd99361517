//! The machines that a graph is played on. Knows what they offer and how their
//! links are; not what runs on them.

use std::collections::BTreeMap;

use musher_scheduler::{MachineId, MachineSpec, Needs, SpeedFactor};

/// The system of machines that are made up.
const SYSTEM: &str = "any";

/// Machines that can all make the same builds.
#[derive(Debug, Clone, PartialEq)]
pub struct Fleet {
    /// What a build of this fleet needs of a machine.
    pub needs: Needs,
    /// At least one, with a slot.
    pub machines: Vec<Machine>,
}

/// One machine and its link.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    /// What it offers.
    pub spec: MachineSpec,
    /// What arrives there in a second, in millions of bits; `None` if transfers
    /// take no time.
    pub mbit: Option<f64>,
}

/// What is wrong with a fleet.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FleetError {
    /// A machine is not written as it should be.
    #[error("`{text}` is no machine: SPEEDxSLOTS or SPEEDxSLOTS@MBIT is expected, as in `0.7x4`")]
    Form {
        /// What was written.
        text: String,
    },
    /// A number is out of range.
    #[error("in `{text}`: {what} must be above 0")]
    Zero {
        /// What was written.
        text: String,
        /// Which number.
        what: &'static str,
    },
    /// There is nothing to build on.
    #[error("no machine of the fleet has a slot")]
    NoSlots,
}

impl Fleet {
    /// Reads `SPEEDxSLOTS[@MBIT],…`; machines without a link of their own have
    /// `mbit`. They are called `m1`, `m2` and so on.
    pub fn parse(text: &str, mbit: Option<f64>) -> Result<Self, FleetError> {
        let written: Vec<&str> = text.split(',').map(str::trim).collect();
        let width = written.len().to_string().len();
        let machines = (written.iter().zip(1..))
            .map(|(text, number)| machine(text, format!("m{number:0width$}"), mbit))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            needs: needs(SYSTEM),
            machines,
        })
    }

    /// The machines of a configuration, all with the link `mbit`. As nodes of a
    /// graph do not say for which system they are, they are for the one that has
    /// the most slots; machines that cannot build for it are left out.
    pub fn configured(specs: &[MachineSpec], mbit: Option<f64>) -> Result<Self, FleetError> {
        let mut slots: BTreeMap<&str, u64> = BTreeMap::new();
        for spec in specs {
            for system in &spec.systems {
                if needs(system).lacks(spec).is_empty() {
                    *slots.entry(system).or_default() += u64::from(spec.slots);
                }
            }
        }
        let system = slots.into_iter().max_by_key(|(_, slots)| *slots);
        let needs = needs(system.ok_or(FleetError::NoSlots)?.0);
        let machines = (specs.iter().filter(|spec| needs.lacks(spec).is_empty()))
            .map(|spec| Machine {
                spec: spec.clone(),
                mbit,
            })
            .collect();
        Ok(Self { needs, machines })
    }

    /// What all slots together do in a second, in seconds of a machine of speed
    /// factor 1.
    pub fn capacity(&self) -> f64 {
        (self.machines.iter())
            .map(|machine| machine.spec.speed_factor.value() * f64::from(machine.spec.slots))
            .sum()
    }

    /// The speed of the fastest machine.
    pub fn best_speed(&self) -> f64 {
        (self.machines.iter())
            .map(|machine| machine.spec.speed_factor.value())
            .fold(0.0, f64::max)
    }

    /// The slots of all machines.
    pub fn slots(&self) -> u64 {
        (self.machines.iter())
            .map(|machine| u64::from(machine.spec.slots))
            .sum()
    }
}

fn needs(system: &str) -> Needs {
    Needs {
        system: system.to_owned(),
        features: [].into(),
    }
}

fn machine(text: &str, name: String, mbit: Option<f64>) -> Result<Machine, FleetError> {
    let form = || FleetError::Form {
        text: text.to_owned(),
    };
    let zero = |what| FleetError::Zero {
        text: text.to_owned(),
        what,
    };
    let (machine, link) = match text.split_once('@') {
        Some((machine, link)) => (machine, Some(link)),
        None => (text, None),
    };
    let (speed, slots) = machine.split_once('x').ok_or_else(form)?;
    let speed: f64 = speed.trim().parse().map_err(|_| form())?;
    let slots: u32 = slots.trim().parse().map_err(|_| form())?;
    let mbit = match link {
        Some(link) => Some(link.trim().parse().map_err(|_| form())?),
        None => mbit,
    };
    if slots == 0 {
        return Err(zero("the number of slots"));
    }
    if mbit.is_some_and(|mbit: f64| !mbit.is_finite() || mbit <= 0.0) {
        return Err(zero("the link"));
    }
    let spec = MachineSpec {
        id: MachineId::from(name),
        systems: [SYSTEM.to_owned()].into(),
        slots,
        speed_factor: SpeedFactor::new(speed).map_err(|_| zero("the speed"))?,
        supported_features: [].into(),
        mandatory_features: [].into(),
        memory: None,
    };
    Ok(Machine { spec, mbit })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_read_with_speed_slots_and_link() {
        let fleet = Fleet::parse("1.0x8, 0.5x4@100", Some(1000.0)).unwrap();
        let read: Vec<_> = (fleet.machines.iter())
            .map(|m| {
                (
                    m.spec.id.as_str(),
                    m.spec.speed_factor.value(),
                    m.spec.slots,
                    m.mbit,
                )
            })
            .collect();
        assert_eq!(
            read,
            [("m1", 1.0, 8, Some(1000.0)), ("m2", 0.5, 4, Some(100.0))]
        );
        assert_eq!(fleet.capacity(), 10.0);
        assert_eq!(fleet.best_speed(), 1.0);
        assert_eq!(fleet.slots(), 12);
    }

    #[test]
    fn what_is_no_machine_is_named() {
        let said = |text| Fleet::parse(text, None).unwrap_err().to_string();
        assert_eq!(
            said("1.0x8,fast"),
            "`fast` is no machine: SPEEDxSLOTS or SPEEDxSLOTS@MBIT is expected, as in `0.7x4`"
        );
        assert_eq!(said("0x8"), "in `0x8`: the speed must be above 0");
        assert_eq!(said("1x0"), "in `1x0`: the number of slots must be above 0");
        assert_eq!(said("1x1@0"), "in `1x1@0`: the link must be above 0");
    }

    fn spec(id: &str, systems: &[&str], slots: u32) -> MachineSpec {
        MachineSpec {
            id: id.into(),
            systems: systems.iter().map(|system| (*system).to_owned()).collect(),
            slots,
            speed_factor: SpeedFactor::ONE,
            supported_features: [].into(),
            mandatory_features: [].into(),
            memory: None,
        }
    }

    #[test]
    fn of_configured_machines_those_for_the_commonest_system_play() {
        let specs = vec![
            spec("a", &["x"], 2),
            spec("b", &["x", "y"], 2),
            spec("c", &["y"], 1),
            spec("d", &["z"], 0),
        ];
        let fleet = Fleet::configured(&specs, None).unwrap();
        let names: Vec<_> = fleet.machines.iter().map(|m| m.spec.id.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(fleet.needs.system, "x");
        assert_eq!(
            Fleet::configured(&[spec("d", &["z"], 0)], None),
            Err(FleetError::NoSlots)
        );
    }
}
