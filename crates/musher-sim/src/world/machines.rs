//! Machines as they come, go and come back.

use musher_scheduler::{Event, LeaseId, MachineId, MachineSpec, Presence, Timestamp};

use super::build::{Standing, State};
use super::{Machine, World, index};
use crate::Decider;

impl<D: Decider> World<D> {
    /// A machine is configured, or configured anew, and answers.
    pub fn join(&mut self, spec: MachineSpec, mbit: Option<f64>) {
        let id = spec.id.clone();
        let machine = (self.machines.entry(id.clone()))
            .and_modify(|known| known.spec = spec.clone())
            .or_insert_with(|| Machine::new(spec.clone(), mbit));
        let bytes_per_second = machine.measured_link();
        self.tell(Event::MachineConfigured { spec });
        self.tell(Event::LinkMeasured {
            machine: id.clone(),
            bytes_per_second,
        });
        self.come_back(&id);
    }

    /// A machine is not configured any more.
    pub fn leave(&mut self, id: &MachineId) {
        let machine = id.clone();
        self.lose(id, false);
        self.machines.remove(id);
        self.tell(Event::MachineRemoved { machine });
        self.settle();
    }

    /// A machine cannot be reached.
    pub fn go_away(&mut self, id: &MachineId, reason: &str, retry_at: Option<Timestamp>) {
        self.lose(id, true);
        let now = self.now;
        let reason = reason.to_owned();
        self.change(id, |machine| {
            machine.lose_link(now);
            machine.presence = Presence::Away {
                reason: reason.clone(),
                retry_at,
            };
        });
        self.tell(Event::MachineAway {
            machine: id.clone(),
            reason,
            retry_at,
        });
        self.settle();
    }

    /// A machine answers again.
    pub fn come_back(&mut self, id: &MachineId) {
        self.change(id, |machine| machine.presence = Presence::Available);
        self.tell(Event::MachineAvailable {
            machine: id.clone(),
        });
        self.settle();
    }

    /// A machine is given no new attempts.
    pub fn drain(&mut self, id: &MachineId) {
        self.change(id, |machine| machine.drained = true);
        self.tell(Event::MachineDrained {
            machine: id.clone(),
        });
        self.settle();
    }

    /// A machine is given attempts again.
    pub fn resume(&mut self, id: &MachineId) {
        self.change(id, |machine| machine.drained = false);
        self.tell(Event::MachineResumed {
            machine: id.clone(),
        });
        self.settle();
    }

    /// A machine's store is emptied.
    pub fn lose_store(&mut self, id: &MachineId) {
        self.change(id, Machine::lose_store);
        self.tell(Event::StoreForgotten {
            machine: id.clone(),
        });
        self.settle();
    }

    fn change(&mut self, id: &MachineId, change: impl FnOnce(&mut Machine)) {
        if let Some(machine) = self.machines.get_mut(id) {
            change(machine);
        }
    }

    /// Takes all attempts off a machine, to its blame or not. Those that were
    /// wanted wait again, and are to be cancelled.
    fn lose(&mut self, id: &MachineId, to_its_blame: bool) {
        let leases: Vec<LeaseId> = (self.attempts.iter())
            .filter(|(_, attempt)| attempt.machine == *id)
            .map(|(lease, _)| *lease)
            .collect();
        for lease in leases {
            let Some(attempt) = self.attempts.remove(&lease) else {
                continue;
            };
            self.agenda.strike(attempt.next);
            self.forget(lease);
            if attempt.standing == Standing::Good {
                self.pointless.insert(lease);
                let build = &mut self.builds[index(attempt.build)];
                build.state = State::Ready { since: self.now };
                if to_its_blame {
                    build.faulted.push(id.clone());
                }
            }
        }
        self.change(id, |machine| machine.taken = 0);
    }
}
