//! The state machine: every build, what became of it, and what to do next.

use crate::{
    Action, BuildId, Event, Explanation, LeaseId, MachineId, MachineView, Needs, Refusal, Timestamp,
};

/// What the user may set about scheduling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How many attempts of one build may fail through machines' faults before
    /// the build is given up.
    pub max_faults: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_faults: 5 }
    }
}

/// Which build runs on which machine.
#[derive(Debug)]
pub struct Scheduler {
    settings: Settings,
    next_lease: LeaseId,
}

impl Scheduler {
    /// A scheduler without machines or builds, whose first lease is
    /// `first_lease`: greater than every lease ever given out to these
    /// machines.
    pub fn new(settings: Settings, first_lease: LeaseId) -> Self {
        Self {
            settings,
            next_lease: first_lease,
        }
    }

    /// Applies one event. `now` never decreases between calls.
    pub fn handle(&mut self, _now: Timestamp, _event: Event) -> Vec<Action> {
        unimplemented!("{:?} {:?}", self.settings, self.next_lease)
    }

    /// What becomes of `build`; `None` if it neither waits nor runs.
    pub fn explain(&self, _build: BuildId) -> Option<Explanation> {
        unimplemented!()
    }

    /// The machines that could make such a build, busy or away though they may
    /// be, in the order of names; or why there is none.
    pub fn could_build(&self, _needs: &Needs) -> Result<Vec<MachineId>, Refusal> {
        unimplemented!()
    }

    /// Every machine, in the order of names.
    pub fn fleet(&self) -> impl Iterator<Item = MachineView<'_>> {
        std::iter::empty()
    }
}
