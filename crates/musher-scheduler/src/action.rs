//! What the scheduler decides. Knows nothing of how the shell does it.

use std::fmt;

use crate::{BuildId, LeaseId, MachineId, Refusal, Timestamp};

/// Work the shell must carry out, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Make this attempt.
    Assign {
        /// What to build.
        build: BuildId,
        /// Where.
        machine: MachineId,
        /// The attempt's number.
        lease: LeaseId,
    },
    /// Stop this attempt: its build is no longer wanted, or its machine is
    /// away or removed. Said once of an attempt. On a machine that stays, the
    /// slot counts as taken until the attempt is reported ended.
    Cancel {
        /// The attempt.
        lease: LeaseId,
        /// Where it runs.
        machine: MachineId,
    },
    /// Tell whoever wants the build that no machine can ever make it. The
    /// scheduler has forgotten it.
    Refuse {
        /// Which.
        build: BuildId,
        /// Why.
        refusal: Refusal,
    },
    /// Tell whoever wants the build that too many machines failed at it. The
    /// scheduler has forgotten it.
    GiveUp {
        /// Which.
        build: BuildId,
        /// What went wrong, oldest first.
        faults: Vec<Fault>,
    },
}

/// One attempt that came to nothing through its machine's fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The attempt.
    pub lease: LeaseId,
    /// Where it ran.
    pub machine: MachineId,
    /// When it ended.
    pub at: Timestamp,
    /// What went wrong, in words for the user.
    pub reason: String,
}

/// `` on `b1`: disk full ``.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "on `{}`: {}", self.machine, self.reason)
    }
}
