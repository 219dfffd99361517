//! What is assigned next: goes through the waiting builds in order and gives
//! each the slot that is best for it, until one can start. Changes nothing
//! before it has decided.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Next, Scheduler};
use crate::build::{ClassId, State};
use crate::choice::{Choice, Placement};
use crate::fleet::{Attempt, Machine};
use crate::placement::Search;
use crate::request::Asker;
use crate::reservations::Reservations;
use crate::{Action, BuildId, LeaseId, MachineId, Timestamp};

/// So many builds may wait for better slots while others are free. The next one
/// takes what there is.
const DEFERRED: usize = 32;
/// So many builds are looked at that have none of the free slots.
const LOOKED_AT: usize = 256;
/// A machine this much as fast as the best is as good for a build whose inputs it
/// holds.
const NEAR_ENOUGH: f64 = 0.9;
/// Builds that wait for a better slot are looked at again no sooner than this.
const REVIEW: Duration = Duration::from_millis(100);

/// That a build waits for a slot that is better than those that are free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Deferral {
    /// Where the slot is.
    pub(super) machine: MachineId,
    /// When it is expected to be free.
    pub(super) free_at: Timestamp,
    /// When this is to be decided again.
    pub(super) until: Timestamp,
}

/// What comes of a walk through the queue.
enum Decision {
    /// A build starts.
    Start {
        build: BuildId,
        class: ClassId,
        asker: Asker,
        placement: Placement,
    },
    /// None does.
    Rest {
        /// Those that could.
        deferred: BTreeMap<BuildId, Deferral>,
    },
}

impl Scheduler {
    /// Assigns builds, in order, until none that waits is to start.
    pub(super) fn place(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        loop {
            match self.decide(now) {
                Decision::Start {
                    build,
                    class,
                    asker,
                    placement,
                } => {
                    let until = now + self.requests.patience(asker);
                    self.queue.served(class, asker, until);
                    actions.push(self.assign(now, build, placement));
                }
                Decision::Rest { deferred } => {
                    self.deferred = deferred;
                    return;
                }
            }
        }
    }

    fn assign(&mut self, now: Timestamp, build: BuildId, placement: Placement) -> Action {
        let lease = self.next_lease;
        self.next_lease = LeaseId(lease.0 + 1);
        let found = self.graph.get(build);
        let machine = placement.chosen.machine.clone();
        let attempt = Attempt {
            build,
            machine: machine.clone(),
            started: now,
            ends: placement.chosen.ends_at,
            memory: found.and_then(|b| b.estimate.peak_memory).unwrap_or(0),
            askers: found.map_or_else(Vec::new, |b| b.askers(build).collect()),
            placement,
        };
        self.transition(now, build, Next::Running { lease, attempt });
        Action::Assign {
            build,
            machine,
            lease,
        }
    }

    /// Where a slot is kept for a build that is about to be requested: near what
    /// it needs, if that is about as good.
    fn slot_for<'a>(
        &'a self,
        build: BuildId,
        placement: &'a Placement,
        reservations: &Reservations,
    ) -> &'a MachineId {
        let chosen = &placement.chosen.machine;
        let speed = |id| self.fleet.machine(id).map_or(0.0, Machine::speed);
        let near = self.imminent.get(&build).map(|imminence| &imminence.near);
        near.filter(|id| {
            let machine = self.fleet.machine(id);
            machine.is_some_and(|machine| reservations.is_free(machine))
                && speed(id) >= speed(chosen) * NEAR_ENOUGH
        })
        .unwrap_or(chosen)
    }

    fn decide(&mut self, now: Timestamp) -> Decision {
        let mut deferred = BTreeMap::new();
        let groups = self.fleet.groups();
        let with_free: BTreeSet<_> = (groups.values().enumerate())
            .filter(|(_, group)| !group.free.is_empty())
            .map(|(number, _)| number)
            .collect();
        if with_free.is_empty() {
            return Decision::Rest { deferred };
        }
        self.classes.refresh(&self.fleet, self.queue.classes());
        let has_slot = |class: &ClassId| {
            let suitable = self.classes.suitable(*class);
            suitable.iter().any(|number| with_free.contains(number))
        };
        let classes = self.queue.classes().filter(has_slot);
        let step = |asker| self.requests.step(asker);
        let mut reservations = Reservations::default();
        let mut looked_at = BTreeSet::new();
        for (class, asker, place) in self.queue.walk(now, classes, step) {
            let id = place.build;
            if looked_at.len() >= LOOKED_AT {
                break;
            }
            // A build stands in a line for each who asks for it.
            if !looked_at.insert(id) {
                continue;
            }
            let Some(build) = self.graph.get(id) else {
                continue;
            };
            let search = Search {
                now,
                fleet: &self.fleet,
                class: self.classes.get(class),
                build,
            };
            let start = |placement| Decision::Start {
                build: id,
                class,
                asker,
                placement,
            };
            let choice = search.choose(self.classes.suitable(class), &mut reservations);
            match choice {
                Choice::None => {}
                Choice::Start(placement) if build.state == State::Imminent => {
                    let kept = self.slot_for(id, &placement, &reservations);
                    reservations.keep(kept);
                }
                Choice::Start(placement) => return start(placement),
                Choice::Wait { awaited, .. } if build.state == State::Imminent => {
                    reservations.reserve(&awaited.machine, awaited.start, awaited.finish);
                }
                Choice::Wait { awaited, declined } if deferred.len() >= DEFERRED => {
                    return start(declined.taken_before(&awaited, now));
                }
                Choice::Wait { awaited, .. } => {
                    reservations.reserve(&awaited.machine, awaited.start, awaited.finish);
                    let deferral = Deferral {
                        machine: awaited.machine,
                        free_at: awaited.start,
                        until: awaited.start.max(now + REVIEW),
                    };
                    deferred.insert(id, deferral);
                }
            }
        }
        Decision::Rest { deferred }
    }
}
