//! Takes ready builds from a list in a fixed order, and looks only at what is
//! free. For worlds where every machine suits every build and nothing fails.

use std::collections::BTreeMap;

use musher_scheduler::{Action, BuildId, Event, LeaseId, MachineId, Timestamp};

use super::Decider;

/// Which of the machines with a free slot is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pick {
    /// As Nix does: the least loaded for its speed, then the faster.
    LeastLoaded,
    /// The fastest, then the least loaded.
    Fastest,
}

#[derive(Debug)]
struct Machine {
    speed: f64,
    slots: u32,
    running: u32,
}

/// A decider by a list.
#[derive(Debug)]
pub(super) struct List {
    pick: Pick,
    /// The rung that each build stands on.
    ladder: Vec<usize>,
    ready: BTreeMap<usize, BuildId>,
    machines: BTreeMap<MachineId, Machine>,
    running: BTreeMap<LeaseId, MachineId>,
    next_lease: u64,
}

impl List {
    pub(super) fn new(pick: Pick, ladder: Vec<usize>) -> Self {
        Self {
            pick,
            ladder,
            ready: BTreeMap::new(),
            machines: BTreeMap::new(),
            running: BTreeMap::new(),
            next_lease: 1,
        }
    }

    /// The machine for the next build, if one has a free slot.
    fn machine(&self) -> Option<MachineId> {
        let free = (self.machines.iter()).filter(|(_, machine)| machine.running < machine.slots);
        let best = free.min_by(|(_, a), (_, b)| {
            let load = |m: &Machine| f64::from(m.running) / m.speed;
            let by_load = load(a).total_cmp(&load(b));
            let by_speed = b.speed.total_cmp(&a.speed);
            match self.pick {
                Pick::LeastLoaded => by_load.then(by_speed),
                Pick::Fastest => by_speed.then(by_load),
            }
        });
        best.map(|(id, _)| id.clone())
    }
}

impl Decider for List {
    fn handle(&mut self, _: Timestamp, event: Event) -> Vec<Action> {
        match event {
            Event::MachineConfigured { spec } => {
                let machine = Machine {
                    speed: spec.speed_factor.value(),
                    slots: spec.slots,
                    running: 0,
                };
                self.machines.insert(spec.id, machine);
            }
            Event::BuildRequested { build, .. } => {
                let place = usize::try_from(build.0).unwrap_or(usize::MAX);
                let rung = self.ladder.get(place).copied().unwrap_or(usize::MAX);
                self.ready.insert(rung, build);
            }
            Event::AttemptEnded { lease, .. } => {
                let machine = self.running.remove(&lease);
                if let Some(machine) = machine.and_then(|id| self.machines.get_mut(&id)) {
                    machine.running -= 1;
                }
            }
            // Nothing fails here, and a list looks neither ahead nor at stores.
            Event::MachineRemoved { .. }
            | Event::MachineAvailable { .. }
            | Event::MachineAway { .. }
            | Event::MachineDrained { .. }
            | Event::MachineResumed { .. }
            | Event::PathsHeld { .. }
            | Event::PathsForgotten { .. }
            | Event::StoreForgotten { .. }
            | Event::LinkMeasured { .. }
            | Event::SpeedMeasured { .. }
            | Event::RequestOpened { .. }
            | Event::RequestClosed { .. }
            | Event::BuildsPlanned { .. }
            | Event::BuildCancelled { .. }
            | Event::TimePassed => {}
        }
        let mut actions = Vec::new();
        while !self.ready.is_empty()
            && let Some(id) = self.machine()
            && let Some((_, build)) = self.ready.pop_first()
        {
            let lease = LeaseId(self.next_lease);
            self.next_lease += 1;
            if let Some(machine) = self.machines.get_mut(&id) {
                machine.running += 1;
            }
            self.running.insert(lease, id.clone());
            actions.push(Action::Assign {
                build,
                machine: id,
                lease,
            });
        }
        actions
    }
    fn review_at(&self) -> Option<Timestamp> {
        None
    }
}
