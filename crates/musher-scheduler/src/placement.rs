//! Which machine makes a build: rules that veto a machine, rules that give it
//! points, and the choice among what is left. Changes nothing; why it is so is
//! in `docs/design/scheduler.md`.

use std::cmp::{Ordering, Reverse};

use crate::build::Class;
use crate::fleet::{Fleet, Machine};
use crate::{Input, Presence, WhyNot};

/// How fast a machine must be, beside the one that would be chosen by load, to
/// be preferred for the inputs it holds.
const ABOUT_AS_FAST: f64 = 0.75;

/// Whether machines can make a build of one class now.
pub(crate) struct Question<'a> {
    class: &'a Class,
    /// Whether a machine that has not faulted may yet make the build.
    another_is_open: bool,
}

impl<'a> Question<'a> {
    /// The question which machines of `fleet` can make a build of `class`.
    pub(crate) fn new(fleet: &Fleet, class: &'a Class) -> Self {
        let another_is_open = !class.avoid.is_empty()
            && fleet.machines().any(|machine| {
                closed(machine).is_none()
                    && !class.avoid.contains(&machine.spec.id)
                    && class.needs.lacks(&machine.spec).is_empty()
            });
        Self {
            class,
            another_is_open,
        }
    }

    /// Why `machine` cannot make such a build now; `None` if it can. Of several
    /// reasons, the one that lasts longest.
    pub(crate) fn veto(&self, machine: &Machine) -> Option<WhyNot> {
        (self.lacks(machine))
            .or_else(|| closed(machine))
            .or_else(|| full(machine))
            .or_else(|| self.faulted_here(machine))
    }

    fn lacks(&self, machine: &Machine) -> Option<WhyNot> {
        let lacks = self.class.needs.lacks(&machine.spec);
        (!lacks.is_empty()).then_some(WhyNot::Lacks(lacks))
    }

    fn faulted_here(&self, machine: &Machine) -> Option<WhyNot> {
        let avoided = self.class.avoid.contains(&machine.spec.id);
        (avoided && self.another_is_open).then_some(WhyNot::FaultedHere)
    }
}

/// Whether `machine` could start some build or other now.
pub(crate) fn is_free(machine: &Machine) -> bool {
    closed(machine).is_none() && full(machine).is_none()
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

/// The best of the machines that can make a build with these `inputs` now.
///
/// The choice of Nix stands: the least loaded for its speed. Only a machine
/// about as fast that holds more of the inputs goes before it.
pub(crate) fn choose<'a>(candidates: &[&'a Machine], inputs: &[Input]) -> Option<&'a Machine> {
    let by_load = candidates.iter().copied().min_by(|a, b| load_order(a, b))?;
    let speed_needed = speed(by_load) * ABOUT_AS_FAST;
    (candidates.iter().copied())
        .filter(|machine| speed(machine) >= speed_needed)
        .map(|machine| (Reverse(held_bytes(machine, inputs)), machine))
        .min_by(|(a_held, a), (b_held, b)| a_held.cmp(b_held).then_with(|| load_order(a, b)))
        .map(|(_, machine)| machine)
}

/// Less loaded first, then faster, then by name.
fn load_order(a: &Machine, b: &Machine) -> Ordering {
    (load(a).total_cmp(&load(b)))
        .then_with(|| speed(b).total_cmp(&speed(a)))
        .then_with(|| a.spec.id.cmp(&b.spec.id))
}

/// Points, the fewer the better: the part of its slots that would be taken with
/// one more attempt, for its speed.
fn load(machine: &Machine) -> f64 {
    // Exact: there are at most 2^32 slots.
    let taken = machine.running() as f64 + 1.0;
    taken / (f64::from(machine.spec.slots) * speed(machine))
}

/// Points, the more the better: NAR bytes that need not be sent.
fn held_bytes(machine: &Machine, inputs: &[Input]) -> u64 {
    (inputs.iter())
        .filter(|input| machine.holds(&input.path))
        .fold(0, |sum, input| sum.saturating_add(input.nar_size))
}

fn speed(machine: &Machine) -> f64 {
    machine.spec.speed_factor.value()
}
