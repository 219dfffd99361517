//! One build and what became of it. Knows nothing of other builds but their
//! numbers.

use std::collections::BTreeSet;

use crate::paths::Needed;
use crate::rank::{Place, Rank};
use crate::request::Asker;
use crate::{BuildId, Estimate, Fault, LeaseId, MachineId, Needs, RequestId, Timestamp};

/// A build's place in the order of coming: lower came first. Kept when a build
/// comes back from a machine. A build can need only builds of a lower turn, so
/// that no build ever needs itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn(pub(crate) u64);

/// Everything a machine is vetoed by, whatever it does at present. Builds of one
/// class may run on the same machines.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Class {
    pub(crate) needs: Needs,
    /// Machines that faulted, as long as there is another to try.
    pub(crate) avoid: BTreeSet<MachineId>,
}

impl Class {
    /// The class of builds with these needs that failed nowhere yet.
    pub(crate) const fn of(needs: Needs) -> Self {
        let avoid = BTreeSet::new();
        Self { needs, avoid }
    }

    /// The class of a build that failed at `machine` too. Once all of `suitable`
    /// were tried, a new round begins at any but the last.
    pub(crate) fn avoiding(mut self, machine: MachineId, suitable: &[MachineId]) -> Self {
        self.avoid.insert(machine.clone());
        if suitable.iter().all(|id| self.avoid.contains(id)) {
            self.avoid = [machine].into();
        }
        self
    }
}

/// The number of a [`Class`] among all there ever were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClassId(pub(crate) usize);

/// A build somebody wants.
#[derive(Debug)]
pub(crate) struct Build {
    pub(crate) turn: Turn,
    pub(crate) class: ClassId,
    pub(crate) estimate: Estimate,
    pub(crate) rank: Rank,
    /// What must be over before it can be ready, as far as that is known.
    pub(crate) after: Vec<BuildId>,
    /// What needs it.
    pub(crate) users: Vec<BuildId>,
    /// Who wants it; nobody else than itself if there is none.
    pub(crate) requests: Vec<RequestId>,
    pub(crate) inputs: Vec<Needed>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) state: State,
}

impl Build {
    /// Where it stands among the builds of one asker.
    pub(crate) fn place(&self, id: BuildId) -> Place {
        Place::new(self.rank, self.turn, id)
    }

    /// Those whose share of the slots it counts for.
    pub(crate) fn askers(&self, id: BuildId) -> impl Iterator<Item = Asker> {
        let alone = self.requests.is_empty().then_some(Asker::Alone(id));
        let requests = self.requests.iter().copied().map(Asker::Request);
        requests.chain(alone)
    }
}

/// What became of a build. One that is built, refused, given up or no longer
/// wanted has no state: it is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// What it needs is not there yet.
    Planned,
    /// What it needs was built a moment ago: it is about to be requested, and
    /// stands in the queue for its slot.
    Imminent,
    /// It waits in the queue.
    Waiting { since: Timestamp },
    /// An attempt of it runs.
    Running { since: Timestamp, lease: LeaseId },
}

impl State {
    /// Whether it stands in the queue.
    pub(crate) const fn is_queued(self) -> bool {
        matches!(self, Self::Imminent | Self::Waiting { .. })
    }

    /// The lease it runs under, if it runs.
    pub(crate) const fn lease(self) -> Option<LeaseId> {
        match self {
            Self::Planned | Self::Imminent | Self::Waiting { .. } => None,
            Self::Running { lease, .. } => Some(lease),
        }
    }
}
