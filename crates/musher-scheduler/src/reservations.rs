//! The slots as one walk through the waiting builds sees them: which are free,
//! which will be when, and which of those a more urgent build waits for.
//! Decides nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::fleet::{Fleet, Machine};
use crate::group::Group;
use crate::{LeaseId, MachineId, Timestamp};

/// How many ends of attempts are looked at in a group, on either side of now.
const ENDS_LOOKED_AT: usize = 48;
/// How many free machines of a group are looked at.
const FREE_LOOKED_AT: usize = 64;

/// The slots of one group.
#[derive(Debug)]
pub(crate) struct Slots {
    /// Machines with free slots, the least loaded first.
    pub(crate) free: Vec<MachineId>,
    /// When slots will be free, the first first, and where.
    pub(crate) ends: Vec<(Timestamp, MachineId)>,
}

/// The slots as far as a walk looked at them.
#[derive(Debug, Default)]
pub(crate) struct Reservations {
    groups: BTreeMap<usize, Slots>,
    /// When a slot of a machine is free for those who come after the builds
    /// that wait for it.
    reserved: BTreeMap<MachineId, Vec<Timestamp>>,
    /// Free slots that are kept for builds that are about to be requested.
    kept: BTreeMap<MachineId, usize>,
}

impl Reservations {
    /// Looks at the slots of the group of that number, if it has not yet.
    pub(crate) fn look_at(&mut self, fleet: &Fleet, number: usize, now: Timestamp) {
        if !self.groups.contains_key(&number)
            && let Some(group) = fleet.groups().values().nth(number)
        {
            self.groups.insert(number, slots(fleet, group, now));
        }
    }

    /// The slots of the group of that number, if they were looked at.
    pub(crate) fn group(&self, number: usize) -> Option<&Slots> {
        self.groups.get(&number)
    }

    /// Whether a slot of `machine` is free that is not kept for another build.
    pub(crate) fn is_free(&self, machine: &Machine) -> bool {
        let kept = self.kept.get(&machine.spec.id).copied().unwrap_or(0);
        machine.is_open() && machine.running() + kept < machine.spec.slots as usize
    }

    /// A free slot of `machine` is kept for a build that is about to be
    /// requested.
    pub(crate) fn keep(&mut self, machine: &MachineId) {
        *self.kept.entry(machine.clone()).or_default() += 1;
    }

    /// When a slot of `machine`, all of which are taken, is free for one more.
    pub(crate) fn first_end(
        &self,
        fleet: &Fleet,
        machine: &Machine,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let reserved = self.reserved.get(&machine.spec.id);
        let taken = reserved.map_or(0, Vec::len);
        let mut ends = fleet.ends(machine, now);
        ends.sort_unstable();
        // Each reservation takes the slot that is free first, and gives it back.
        let mut ends: Vec<_> = ends.into_iter().skip(taken).collect();
        ends.extend(reserved.into_iter().flatten());
        ends.into_iter().min()
    }

    /// A build waits for the slot of `machine` that is free at `start`, and will
    /// have it until `finish`.
    pub(crate) fn reserve(&mut self, machine: &MachineId, start: Timestamp, finish: Timestamp) {
        self.reserved
            .entry(machine.clone())
            .or_default()
            .push(finish);
        for slots in self.groups.values_mut() {
            let found = (slots.ends.iter()).position(|(end, id)| *end == start && id == machine);
            if let Some(at) = found {
                slots.ends.remove(at);
                let at = slots.ends.partition_point(|(end, _)| *end < finish);
                slots.ends.insert(at, (finish, machine.clone()));
            }
        }
    }
}

fn slots(fleet: &Fleet, group: &Group, now: Timestamp) -> Slots {
    let free = group.free.iter().take(FREE_LOOKED_AT);
    // What is overdue may end at any moment, the shortest attempts first.
    let later = (now + Duration::from_millis(1), LeaseId(0));
    let overdue = group.busy.range(..later).rev();
    let due = group.busy.range(later..);
    let looked_at = overdue.take(ENDS_LOOKED_AT).chain(due.take(ENDS_LOOKED_AT));
    let mut ends: Vec<_> = looked_at
        .filter_map(|(_, lease)| fleet.attempt(*lease))
        .map(|attempt| (attempt.ends_by(now), attempt.machine.clone()))
        .collect();
    ends.sort_unstable();
    Slots {
        free: free.map(|(_, id)| id.clone()).collect(),
        ends,
    }
}
