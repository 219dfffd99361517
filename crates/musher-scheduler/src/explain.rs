//! What the scheduler says about itself: why a build waits, where it runs,
//! how the fleet is. Words and shapes only; `placement` finds the reasons.

use std::fmt;

use crate::needs::Lacks;
use crate::{Fault, Lack, LeaseId, MachineId, MachineSpec, Presence, Timestamp};

/// What becomes of a build at present.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// Whether it waits or runs.
    pub status: Status,
    /// Attempts of it that machines failed at, oldest first.
    pub faults: Vec<Fault>,
}

/// Whether a build waits or runs.
#[derive(Debug, Clone, PartialEq)]
pub enum Status {
    /// It waits for a machine.
    Waiting {
        /// Since when.
        since: Timestamp,
        /// How many waiting builds are before it in the order.
        ahead: usize,
        /// Each machine of the fleet in the order of names, and why it does not
        /// make the build now.
        machines: Vec<(MachineId, WhyNot)>,
    },
    /// An attempt of it is running.
    Running {
        /// Since when.
        since: Timestamp,
        /// The attempt.
        lease: LeaseId,
        /// Where.
        machine: MachineId,
    },
}

/// Why a machine does not make a build now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhyNot {
    /// It could never make it.
    Lacks(
        /// Each thing it lacks; at least one.
        Vec<Lack>,
    ),
    /// The user wants no attempts sent there.
    Drained,
    /// It cannot be reached.
    Away {
        /// Why, in words for the user.
        reason: String,
        /// When it is tried again, if that is known.
        retry_at: Option<Timestamp>,
    },
    /// All its slots are taken.
    NoFreeSlot {
        /// How many it has.
        slots: u32,
    },
    /// It failed at this build before, and another machine, at present busy,
    /// has not.
    FaultedHere,
}

impl fmt::Display for WhyNot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lacks(lacks) => Lacks(lacks).fmt(f),
            Self::Drained => f.write_str("is drained"),
            // When it is tried again is left to the caller, who knows the time.
            Self::Away { reason, .. } => write!(f, "is away: {reason}"),
            Self::NoFreeSlot { slots: 1 } => f.write_str("has its one slot taken"),
            Self::NoFreeSlot { slots } => write!(f, "has all {slots} slots taken"),
            Self::FaultedHere => {
                f.write_str("failed at it before, so a busy machine is waited for")
            }
        }
    }
}

/// One machine of the fleet at present.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MachineView<'a> {
    /// What it offers.
    pub spec: &'a MachineSpec,
    /// Whether it can be reached.
    pub presence: &'a Presence,
    /// Whether the user wants no attempts sent there.
    pub drained: bool,
    /// Slots taken, those of cancelled attempts that have not ended included.
    pub running: usize,
}
