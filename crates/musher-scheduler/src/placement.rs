//! Which machine makes a build: what keeps a machine from it, and when each would
//! have finished it. Changes nothing; why it is so is in
//! `docs/design/scheduler.md`.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::build::{Build, Class};
use crate::choice::{Choice, Offer, Offers};
use crate::fleet::{Fleet, Machine};
use crate::reservations::Reservations;
use crate::{Confidence, MachineId, Presence, Timestamp, WhyNot};

/// What part of the time that a build takes does not matter: to finish later by
/// no more than that is as good.
const AS_GOOD: f64 = 0.05;
/// The same where nobody knows how long the build takes: it may be short, and
/// then the round trips of sending inputs count most.
const AS_GOOD_A_GUESS: f64 = 0.3;
/// How many free machines of a group are looked at, the least loaded first.
const FREE_LOOKED_AT: usize = 16;
/// An input that more machines hold says nothing of where to build.
const RARE: usize = 8;
/// How many machines are looked at because they hold rare inputs.
const HOLDERS_LOOKED_AT: usize = 8;

/// Whether machines can make a build of one class now.
pub(crate) struct Question<'a> {
    class: &'a Class,
    /// The memory that the build is expected to take.
    memory: u64,
    /// Whether a machine that has not faulted may yet make the build.
    another_is_open: bool,
}

impl<'a> Question<'a> {
    /// The question which machines of `fleet` can make `build` of `class`.
    pub(crate) fn new(fleet: &Fleet, class: &'a Class, build: &Build) -> Self {
        let another_is_open = !class.avoid.is_empty()
            && fleet.machines().any(|machine| {
                machine.is_open()
                    && !class.avoid.contains(&machine.spec.id)
                    && class.needs.lacks(&machine.spec).is_empty()
            });
        Self {
            class,
            memory: build.estimate.peak_memory.unwrap_or(0),
            another_is_open,
        }
    }

    /// Why `machine` cannot make such a build now; `None` if it can. Of several
    /// reasons, the one that lasts longest.
    pub(crate) fn veto(&self, machine: &Machine) -> Option<WhyNot> {
        (self.lacks(machine))
            .or_else(|| closed(machine))
            .or_else(|| full(machine))
            .or_else(|| self.now(machine))
    }

    /// What keeps a machine that is free, and suits the class, from the build.
    fn now(&self, machine: &Machine) -> Option<WhyNot> {
        (self.faulted_here(machine)).or_else(|| self.lacks_memory(machine))
    }

    fn lacks(&self, machine: &Machine) -> Option<WhyNot> {
        let lacks = self.class.needs.lacks(&machine.spec);
        (!lacks.is_empty()).then_some(WhyNot::Lacks(lacks))
    }

    fn faulted_here(&self, machine: &Machine) -> Option<WhyNot> {
        let avoided = self.class.avoid.contains(&machine.spec.id);
        (avoided && self.another_is_open).then_some(WhyNot::FaultedHere)
    }

    fn lacks_memory(&self, machine: &Machine) -> Option<WhyNot> {
        if machine.has_memory_for(self.memory) {
            return None;
        }
        Some(WhyNot::NoMemory {
            needed: self.memory,
            left: machine.memory_left().unwrap_or(0),
        })
    }
}

fn closed(machine: &Machine) -> Option<WhyNot> {
    match &machine.presence {
        _ if machine.drained => Some(WhyNot::Drained),
        Presence::Available => None,
        Presence::Away { reason, retry_at } => Some(WhyNot::Away {
            reason: reason.clone(),
            retry_at: *retry_at,
        }),
    }
}

fn full(machine: &Machine) -> Option<WhyNot> {
    let slots = machine.spec.slots;
    (machine.running() >= slots as usize).then_some(WhyNot::NoFreeSlot { slots })
}

/// Finds the slots that a build of one class could have.
pub(crate) struct Search<'a> {
    pub(crate) now: Timestamp,
    pub(crate) fleet: &'a Fleet,
    pub(crate) class: &'a Class,
    pub(crate) build: &'a Build,
}

impl Search<'_> {
    /// Which slot is best for the build, of those that others before it have not
    /// reserved.
    pub(crate) fn choose(&self, suitable: &[usize], reservations: &mut Reservations) -> Choice {
        let as_good = match self.build.estimate.confidence {
            Confidence::Guess => AS_GOOD_A_GUESS,
            Confidence::Similar | Confidence::Known => AS_GOOD,
        };
        (self.offers(suitable, reservations)).choose(self.now, as_good)
    }

    fn offers(&self, suitable: &[usize], reservations: &mut Reservations) -> Offers {
        let question = Question::new(self.fleet, self.class, self.build);
        let mut offers = Offers::default();
        let mut seen = BTreeSet::new();
        for id in self.holders() {
            let Some(machine) = self.fleet.machine(id) else {
                continue;
            };
            if question.lacks(machine).is_some() || !machine.is_open() {
                continue;
            }
            seen.insert(id.clone());
            if reservations.is_free(machine) {
                if question.now(machine).is_none() {
                    offers.free.push(self.offer(machine, self.now));
                }
            } else if question.faulted_here(machine).is_none()
                && let Some(end) = reservations.first_end(self.fleet, machine, self.now)
            {
                offers.busy.push(self.offer(machine, end));
            }
        }
        for number in suitable {
            reservations.look_at(self.fleet, *number, self.now);
            let Some(group) = reservations.group(*number) else {
                continue;
            };
            let free = group.free.iter().filter(|id| !seen.contains(*id));
            let free = free.filter_map(|id| self.fleet.machine(id));
            let free = free.filter(|machine| reservations.is_free(machine));
            let free = free.filter(|machine| question.now(machine).is_none());
            for machine in free.take(FREE_LOOKED_AT) {
                offers.free.push(self.offer(machine, self.now));
            }
            let busy = (group.ends.iter())
                .filter_map(|(end, id)| Some((*end, self.fleet.machine(id)?)))
                .find(|(_, machine)| question.faulted_here(machine).is_none());
            if let Some((end, machine)) = busy {
                offers.busy.push(self.offer(machine, end));
            }
        }
        offers
    }

    /// Machines that hold inputs which few others hold.
    fn holders(&self) -> impl Iterator<Item = &MachineId> {
        let inputs = self.build.inputs.iter();
        let holders = inputs.filter_map(|input| self.fleet.paths.holders(input.path));
        let rare = holders.filter(|holders| holders.len() <= RARE).flatten();
        let distinct: BTreeSet<_> = rare.take(HOLDERS_LOOKED_AT * RARE).collect();
        distinct.into_iter().take(HOLDERS_LOOKED_AT)
    }

    fn offer(&self, machine: &Machine, start: Timestamp) -> Offer {
        let inputs = self.build.inputs.iter();
        let missing = inputs
            .filter(|input| !machine.holds(input.path))
            .fold(0_u64, |sum, input| sum.saturating_add(input.nar_size));
        Offer {
            machine: machine.spec.id.clone(),
            start,
            finish: start + takes(machine, self.build, missing),
            missing,
            load: machine.load(),
            speed: machine.speed(),
        }
    }
}

/// How long a build is expected to take on `machine` when so many bytes are to
/// be sent there first.
fn takes(machine: &Machine, build: &Build, missing: u64) -> Duration {
    let seconds =
        machine.transfer_seconds(missing) + build.estimate.cautious_seconds() / machine.speed();
    // Nothing that long can be waited for; it keeps the sum from overflowing.
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_secs(1 << 32))
}
