//! One build and what became of it. Knows nothing of other builds.

use std::collections::BTreeSet;

use crate::{Fault, Input, LeaseId, MachineId, Needs, Timestamp};

/// A build's place in the order: lower goes first. The order of requests, kept
/// when a build comes back from a machine; ranks will come before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn(pub(crate) u64);

/// Everything a machine is vetoed by. Builds of one class may run on the same
/// machines at any moment, so only the first in the order needs looking at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Class {
    pub(crate) needs: Needs,
    /// Machines that faulted, as long as there is another to try.
    pub(crate) avoid: BTreeSet<MachineId>,
}

/// A build somebody wants.
#[derive(Debug)]
pub(crate) struct Build {
    pub(crate) turn: Turn,
    pub(crate) class: Class,
    pub(crate) inputs: Vec<Input>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) state: State,
}

impl Build {
    /// Records a fault. Its machine is avoided from now on; once all of
    /// `suitable` were, a new round begins at any but the last.
    pub(crate) fn fault(&mut self, fault: Fault, suitable: &[MachineId]) {
        let avoid = &mut self.class.avoid;
        avoid.insert(fault.machine.clone());
        if suitable.iter().all(|machine| avoid.contains(machine)) {
            *avoid = [fault.machine.clone()].into();
        }
        self.faults.push(fault);
    }
}

/// What became of a build. One that is built, refused, given up or no longer
/// wanted has no state: it is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It waits in the queue.
    Waiting { since: Timestamp },
    /// An attempt of it runs.
    Running { since: Timestamp, lease: LeaseId },
}

impl State {
    /// The lease it runs under, if it runs.
    pub(crate) const fn lease(self) -> Option<LeaseId> {
        match self {
            Self::Waiting { .. } => None,
            Self::Running { lease, .. } => Some(lease),
        }
    }
}
