//! The machines and the attempts that take their slots, and which slot is free
//! when. Knows nothing of the builds the attempts are of, only their numbers.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use nix_derivation::StorePath;

use crate::choice::Placement;
use crate::group::{Group, GroupKey, Load};
use crate::paths::{PathId, Paths};
use crate::request::Asker;
use crate::{
    BuildId, LeaseId, MachineId, MachineSpec, Needs, Presence, Refusal, SpeedFactor, Timestamp,
};

/// What arrives at a machine in a second, in bytes, where nobody measured it:
/// about a gigabit, with something to spare.
const ASSUMED_BANDWIDTH: f64 = 100e6;

/// One machine.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) spec: MachineSpec,
    pub(crate) presence: Presence,
    pub(crate) drained: bool,
    /// How fast it was found to be, if that was measured.
    measured: Option<SpeedFactor>,
    bandwidth: f64,
    held: BTreeSet<PathId>,
    leases: BTreeSet<LeaseId>,
    /// Memory that its attempts are expected to take, in bytes.
    memory_taken: u64,
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
            measured: None,
            bandwidth: ASSUMED_BANDWIDTH,
            held: BTreeSet::new(),
            leases: BTreeSet::new(),
            memory_taken: 0,
        }
    }

    /// Slots taken.
    pub(crate) fn running(&self) -> usize {
        self.leases.len()
    }

    /// Whether attempts may be sent there at all.
    pub(crate) fn is_open(&self) -> bool {
        !self.drained && self.presence == Presence::Available
    }

    /// Whether it has a free slot for some build or other.
    pub(crate) fn is_free(&self) -> bool {
        self.is_open() && self.running() < self.spec.slots as usize
    }

    /// How fast it is, as far as is known.
    pub(crate) fn speed(&self) -> f64 {
        self.measured.unwrap_or(self.spec.speed_factor).value()
    }

    /// How long `bytes` take to arrive there, in seconds.
    pub(crate) fn transfer_seconds(&self, bytes: u64) -> f64 {
        // Exact enough: it is an estimate.
        bytes as f64 / self.bandwidth
    }

    /// Whether a build that is expected to take `memory` has room beside those
    /// that run. One that is alone always has.
    pub(crate) fn has_memory_for(&self, memory: u64) -> bool {
        let taken = self.memory_taken.saturating_add(memory);
        self.leases.is_empty() || self.spec.memory.is_none_or(|all| taken <= all)
    }

    /// Memory that is not expected to be taken, in bytes, where it is known.
    pub(crate) fn memory_left(&self) -> Option<u64> {
        Some(self.spec.memory?.saturating_sub(self.memory_taken))
    }

    /// Whether its store is known to hold `path`.
    pub(crate) fn holds(&self, path: PathId) -> bool {
        self.held.contains(&path)
    }

    /// How much of it would be taken with one more attempt.
    pub(crate) fn load(&self) -> Load {
        // Exact: there are at most 2^32 slots.
        let taken = self.running() as f64 + 1.0;
        Load::new(taken / (f64::from(self.spec.slots) * self.speed()))
    }
}

/// One attempt that takes a slot.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// What it builds, or built before it was cancelled.
    pub(crate) build: BuildId,
    /// Where.
    pub(crate) machine: MachineId,
    pub(crate) started: Timestamp,
    /// When it is expected to end.
    pub(crate) ends: Timestamp,
    /// The memory it is expected to take, in bytes.
    pub(crate) memory: u64,
    /// Whose share it counts for.
    pub(crate) askers: Vec<Asker>,
    /// Why it is there.
    pub(crate) placement: Placement,
}

impl Attempt {
    /// When it may be expected to end by now: what is overdue takes a quarter
    /// of what it took so far, again and again.
    pub(crate) fn ends_by(&self, now: Timestamp) -> Timestamp {
        if self.ends > now {
            return self.ends;
        }
        now + now.since(self.started) / 4 + std::time::Duration::from_millis(1)
    }
}

/// Every machine, and every attempt on one.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    machines: BTreeMap<MachineId, Machine>,
    attempts: BTreeMap<LeaseId, Attempt>,
    groups: BTreeMap<GroupKey, Group>,
    /// The paths that are held or read, and by whom they are held.
    pub(crate) paths: Paths,
    /// Grows whenever there may be other groups than there were.
    epoch: u64,
}

impl Fleet {
    /// Adds a machine, or changes what a known one offers.
    pub(crate) fn configure(&mut self, spec: MachineSpec) {
        let id = spec.id.clone();
        match self.machines.entry(id.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(Machine::new(spec));
            }
            Entry::Occupied(_) => self.change(&id, |machine| machine.spec = spec),
        }
    }

    /// Removes a machine. Its attempts, which it returns oldest first, are
    /// still to be ended.
    pub(crate) fn remove(&mut self, id: &MachineId) -> Vec<LeaseId> {
        let leases = self.leases_on(id);
        self.withdraw(id);
        self.forget_store(id);
        self.machines.remove(id);
        self.drop_empty_groups();
        leases
    }

    /// The machine `id`, if there is one.
    pub(crate) fn machine(&self, id: &MachineId) -> Option<&Machine> {
        self.machines.get(id)
    }

    /// Every machine, in the order of names.
    pub(crate) fn machines(&self) -> impl Iterator<Item = &Machine> {
        self.machines.values()
    }

    /// Changes what is known of a machine, if there is one.
    pub(crate) fn change(&mut self, id: &MachineId, change: impl FnOnce(&mut Machine)) {
        self.withdraw(id);
        if let Some(machine) = self.machines.get_mut(id) {
            change(machine);
        }
        self.offer(id);
        self.drop_empty_groups();
    }

    /// Takes note of how fast a machine was found to be.
    pub(crate) fn measure_speed(&mut self, id: &MachineId, factor: SpeedFactor) {
        self.change(id, |machine| machine.measured = Some(factor));
    }

    /// Takes note of what arrives at a machine in a second.
    pub(crate) fn measure_link(&mut self, id: &MachineId, bytes_per_second: f64) {
        if bytes_per_second.is_finite()
            && bytes_per_second > 0.0
            && let Some(machine) = self.machines.get_mut(id)
        {
            machine.bandwidth = bytes_per_second;
        }
    }

    /// Learns that the store of a machine holds `paths` too.
    pub(crate) fn hold(&mut self, id: &MachineId, paths: &[StorePath]) {
        if let Some(machine) = self.machines.get_mut(id) {
            for path in paths {
                machine.held.insert(self.paths.hold(id, path));
            }
        }
    }

    /// Stops relying on `paths` being in the store of a machine.
    pub(crate) fn forget(&mut self, id: &MachineId, paths: &[StorePath]) {
        let Some(machine) = self.machines.get_mut(id) else {
            return;
        };
        for path in paths {
            if let Some(path) = self.paths.find(path)
                && machine.held.remove(&path)
            {
                self.paths.forget(id, path);
            }
        }
    }

    /// Stops relying on anything being in the store of a machine.
    pub(crate) fn forget_store(&mut self, id: &MachineId) {
        if let Some(machine) = self.machines.get_mut(id) {
            for path in std::mem::take(&mut machine.held) {
                self.paths.forget(id, path);
            }
        }
    }

    /// The attempt under `lease`, unless it has ended.
    pub(crate) fn attempt(&self, lease: LeaseId) -> Option<&Attempt> {
        self.attempts.get(&lease)
    }

    /// Takes a slot for `attempt`.
    pub(crate) fn start(&mut self, lease: LeaseId, attempt: Attempt) {
        let id = attempt.machine.clone();
        self.withdraw(&id);
        let taken = self.machines.get_mut(&id).is_some_and(|machine| {
            machine.memory_taken = machine.memory_taken.saturating_add(attempt.memory);
            machine.leases.insert(lease)
        });
        assert!(taken, "bug: lease {lease} on machine {id}");
        self.attempts.insert(lease, attempt);
        self.offer(&id);
    }

    /// Lets an attempt count for the share of `asker` too. Says whether that is
    /// new.
    pub(crate) fn count_for(&mut self, lease: LeaseId, asker: Asker) -> bool {
        let Some(attempt) = self.attempts.get_mut(&lease) else {
            return false;
        };
        let is_new = !attempt.askers.contains(&asker);
        if is_new {
            attempt.askers.push(asker);
        }
        is_new
    }

    /// Frees the slot of an attempt; `None` if it was free already.
    pub(crate) fn end(&mut self, lease: LeaseId) -> Option<Attempt> {
        let id = self.attempts.get(&lease)?.machine.clone();
        self.withdraw(&id);
        let attempt = self.attempts.remove(&lease)?;
        if let Some(machine) = self.machines.get_mut(&id) {
            machine.leases.remove(&lease);
            machine.memory_taken = machine.memory_taken.saturating_sub(attempt.memory);
        }
        self.offer(&id);
        Some(attempt)
    }

    /// The attempts on the machine `id`, oldest first.
    pub(crate) fn leases_on(&self, id: &MachineId) -> Vec<LeaseId> {
        (self.machines.get(id))
            .map(|machine| machine.leases.iter().copied().collect())
            .unwrap_or_default()
    }

    /// When the attempts on `machine` may be expected to end, in no order.
    pub(crate) fn ends(&self, machine: &Machine, now: Timestamp) -> Vec<Timestamp> {
        let attempts = machine.leases.iter();
        attempts
            .filter_map(|lease| Some(self.attempts.get(lease)?.ends_by(now)))
            .collect()
    }

    /// The groups that the open machines fall into.
    pub(crate) fn groups(&self) -> &BTreeMap<GroupKey, Group> {
        &self.groups
    }

    /// Another number whenever there may be other groups.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
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

    /// Takes a machine out of its group; `offer` puts it back.
    fn withdraw(&mut self, id: &MachineId) {
        let Some(machine) = self.machines.get(id).filter(|machine| machine.is_open()) else {
            return;
        };
        let key = GroupKey::of(&machine.spec, machine.speed());
        let Some(group) = self.groups.get_mut(&key) else {
            return;
        };
        group.free.remove(&(machine.load(), id.clone()));
        for lease in &machine.leases {
            if let Some(attempt) = self.attempts.get(lease) {
                group.busy.remove(&(attempt.ends, *lease));
            }
        }
        group.machines -= 1;
    }

    /// Attempts that start or end leave their machine in its group; only other
    /// changes need this.
    fn drop_empty_groups(&mut self) {
        let before = self.groups.len();
        self.groups.retain(|_, group| group.machines > 0);
        if self.groups.len() != before {
            self.epoch += 1;
        }
    }

    /// Puts a machine into its group.
    fn offer(&mut self, id: &MachineId) {
        let Some(machine) = self.machines.get(id).filter(|machine| machine.is_open()) else {
            return;
        };
        let key = GroupKey::of(&machine.spec, machine.speed());
        if !self.groups.contains_key(&key) {
            self.epoch += 1;
        }
        let group = (self.groups.entry(key)).or_insert_with(|| Group::of(&machine.spec));
        group.machines += 1;
        if machine.is_free() {
            group.free.insert((machine.load(), id.clone()));
        }
        for lease in &machine.leases {
            if let Some(attempt) = self.attempts.get(lease) {
                group.busy.insert((attempt.ends, *lease));
            }
        }
    }
}
