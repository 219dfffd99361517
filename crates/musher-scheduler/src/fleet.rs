//! The machines and the attempts that take their slots. Knows nothing of the
//! builds the attempts are of, only their numbers.

use std::collections::{BTreeMap, BTreeSet};

use nix_derivation::StorePath;

use crate::{BuildId, LeaseId, MachineId, MachineSpec, Needs, Presence, Refusal};

/// One machine.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) spec: MachineSpec,
    pub(crate) presence: Presence,
    pub(crate) drained: bool,
    held: BTreeSet<StorePath>,
    leases: BTreeSet<LeaseId>,
}

impl Machine {
    /// A machine nothing is known of yet but its configuration.
    fn new(spec: MachineSpec) -> Self {
        Self {
            spec,
            presence: Presence::Away {
                reason: "not connected yet".to_owned(),
                retry_at: None,
            },
            drained: false,
            held: BTreeSet::new(),
            leases: BTreeSet::new(),
        }
    }

    /// Slots taken.
    pub(crate) fn running(&self) -> usize {
        self.leases.len()
    }

    /// Whether its store is known to hold `path`.
    pub(crate) fn holds(&self, path: &StorePath) -> bool {
        self.held.contains(path)
    }

    /// Learns that its store holds `paths` too.
    pub(crate) fn hold(&mut self, paths: Vec<StorePath>) {
        self.held.extend(paths);
    }

    /// Stops relying on `paths` being in its store.
    pub(crate) fn forget(&mut self, paths: &[StorePath]) {
        for path in paths {
            self.held.remove(path);
        }
    }

    /// Stops relying on anything being in its store.
    pub(crate) fn forget_store(&mut self) {
        self.held.clear();
    }
}

/// One attempt that takes a slot.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// What it builds, or built before it was cancelled.
    pub(crate) build: BuildId,
    /// Where.
    pub(crate) machine: MachineId,
}

/// Every machine, and every attempt on one.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    machines: BTreeMap<MachineId, Machine>,
    attempts: BTreeMap<LeaseId, Attempt>,
}

impl Fleet {
    /// Adds a machine, or changes what a known one offers.
    pub(crate) fn configure(&mut self, spec: MachineSpec) {
        match self.machines.get_mut(&spec.id) {
            Some(machine) => machine.spec = spec,
            None => {
                (self.machines).insert(spec.id.clone(), Machine::new(spec));
            }
        }
    }

    /// Removes a machine. Its attempts, which it returns oldest first, are
    /// still to be ended.
    pub(crate) fn remove(&mut self, id: &MachineId) -> Vec<LeaseId> {
        let leases = self.leases_on(id);
        self.machines.remove(id);
        leases
    }

    /// The machine `id`, if there is one.
    pub(crate) fn machine_mut(&mut self, id: &MachineId) -> Option<&mut Machine> {
        self.machines.get_mut(id)
    }

    /// Every machine, in the order of names.
    pub(crate) fn machines(&self) -> impl Iterator<Item = &Machine> {
        self.machines.values()
    }

    /// The attempt under `lease`, unless it has ended.
    pub(crate) fn attempt(&self, lease: LeaseId) -> Option<&Attempt> {
        self.attempts.get(&lease)
    }

    /// Takes a slot of `machine`.
    pub(crate) fn start(&mut self, lease: LeaseId, build: BuildId, machine: MachineId) {
        let taken = (self.machines.get_mut(&machine)).is_some_and(|m| m.leases.insert(lease));
        assert!(taken, "bug: lease {lease} on machine {machine}");
        self.attempts.insert(lease, Attempt { build, machine });
    }

    /// Frees the slot of an attempt; `None` if it was free already.
    pub(crate) fn end(&mut self, lease: LeaseId) -> Option<Attempt> {
        let attempt = self.attempts.remove(&lease)?;
        if let Some(machine) = self.machines.get_mut(&attempt.machine) {
            machine.leases.remove(&lease);
        }
        Some(attempt)
    }

    /// The attempts on the machine `id`, oldest first.
    pub(crate) fn leases_on(&self, id: &MachineId) -> Vec<LeaseId> {
        (self.machines.get(id))
            .map(|machine| machine.leases.iter().copied().collect())
            .unwrap_or_default()
    }

    /// The machines that could make a build of such `needs` if they were free,
    /// in the order of names.
    pub(crate) fn could_build(&self, needs: &Needs) -> Result<Vec<MachineId>, Refusal> {
        let mut suitable = Vec::new();
        let mut others = Vec::new();
        for (id, machine) in &self.machines {
            match needs.lacks(&machine.spec) {
                lacks if lacks.is_empty() => suitable.push(id.clone()),
                lacks => others.push((id.clone(), lacks)),
            }
        }
        if suitable.is_empty() {
            let needs = needs.clone();
            let machines = others;
            return Err(Refusal { needs, machines });
        }
        Ok(suitable)
    }
}
