//! Builds that are about to be requested: the last build that they needed has
//! just ended well. Whoever requests them needs a moment to learn of that, and a
//! slot that is given away meanwhile is given to something less urgent.

use std::time::Duration;

use super::Scheduler;
use crate::build::State;
use crate::{BuildId, MachineId, Timestamp};

/// How long a slot is kept for a build that is about to be requested.
const GRACE: Duration = Duration::from_millis(300);

/// That a build is about to be requested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Imminence {
    /// When that is not to be believed any more.
    pub(super) until: Timestamp,
    /// Where the last build that it needed was made: it will want to be there,
    /// though its inputs are not known yet.
    pub(super) near: MachineId,
}

impl Scheduler {
    /// A build ended well, on that machine, and these need nothing else.
    pub(super) fn await_requests(
        &mut self,
        now: Timestamp,
        builds: Vec<BuildId>,
        near: &MachineId,
    ) {
        for id in builds {
            if (self.graph.get(id)).is_none_or(|build| build.state != State::Planned) {
                continue;
            }
            let imminence = Imminence {
                until: now + GRACE,
                near: near.clone(),
            };
            self.imminent.insert(id, imminence);
            self.set_state(id, State::Imminent);
            self.enter_queue(now, id);
        }
    }

    /// Gives up waiting for builds to be requested.
    pub(super) fn expire(&mut self, now: Timestamp) {
        let is_over = |(id, it): (&BuildId, &Imminence)| (it.until <= now).then_some(*id);
        let over: Vec<_> = self.imminent.iter().filter_map(is_over).collect();
        for id in over {
            self.settle(id);
        }
    }

    /// A build is not imminent any more, if it was.
    pub(super) fn settle(&mut self, id: BuildId) {
        if self.imminent.remove(&id).is_some() {
            self.leave_queue(id);
            self.set_state(id, State::Planned);
        }
    }
}
