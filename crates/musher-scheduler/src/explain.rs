//! What the scheduler says about itself: why a build waits, where it runs,
//! how the fleet is. Words and shapes only; `placement` finds the reasons.

use std::fmt;

use crate::needs::Lacks;
use crate::{Estimate, Fault, Lack, LeaseId, MachineId, MachineSpec, OwnerId, Presence, Timestamp};

/// What becomes of a build at present.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// Whether it is planned, waits or runs.
    pub status: Status,
    /// What it is expected to cost.
    pub estimate: Estimate,
    /// How long it and the longest row of builds after it are expected to take
    /// on machines of speed factor 1, in seconds.
    pub rank_seconds: f64,
    /// Who asks for it, each once, in the order of names.
    pub owners: Vec<OwnerId>,
    /// Attempts of it that machines failed at, oldest first.
    pub faults: Vec<Fault>,
}

/// Whether a build is planned, waits or runs.
#[derive(Debug, Clone, PartialEq)]
pub enum Status {
    /// What it needs is not there yet.
    Planned {
        /// How many builds come before it at once.
        after: usize,
    },
    /// It waits for a machine.
    Waiting {
        /// Since when.
        since: Timestamp,
        /// How many waiting builds that may run on the same machines are before
        /// it in the order; 100 stands for more.
        ahead: usize,
        /// Who has as many attempts running as they may have, and how many
        /// that is, if it is only they who ask for it.
        limit: Option<(OwnerId, u32)>,
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
        /// When it was expected to end when it began.
        expected_end: Timestamp,
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
    /// It has a free slot, but not the memory.
    NoMemory {
        /// What the build is expected to take, in bytes.
        needed: u64,
        /// What is left there, in bytes.
        left: u64,
    },
    /// It has a free slot, but a better one will be free soon enough.
    Slower {
        /// Where.
        awaited: MachineId,
        /// When.
        free_at: Timestamp,
    },
    /// It has a free slot, and it is not this build's turn yet.
    OthersFirst,
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
            Self::NoMemory { needed, left } => {
                let mib = |bytes: &u64| bytes.div_ceil(1 << 20);
                let (needed, left) = (mib(needed), mib(left));
                write!(
                    f,
                    "has {left} MiB of memory left, and it takes {needed} MiB"
                )
            }
            // When that is, is left to the caller, who knows the time.
            Self::Slower { awaited, .. } => {
                write!(
                    f,
                    "would finish it later than `{awaited}`, which is soon free"
                )
            }
            Self::OthersFirst => f.write_str("is about to be given to others"),
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
    /// How fast it is beside a machine of factor 1, as far as is known.
    pub speed: f64,
}

/// How far a request is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outlook {
    /// Builds that need others first.
    pub planned: usize,
    /// Builds that wait for a machine.
    pub waiting: usize,
    /// Builds that run.
    pub running: usize,
    /// What all of these are expected to take one after the other, in seconds on
    /// a machine of speed factor 1. Running ones count whole.
    pub work_seconds: f64,
    /// What the longest row of builds that need each other is expected to take,
    /// in seconds on machines of speed factor 1.
    pub longest_row_seconds: f64,
    /// How long it is expected to take from now on, in seconds: as long as that
    /// row on the fastest machine, or as all the work on the request's share of
    /// the slots. None while no machine is there that could do anything of it.
    pub left_seconds: Option<f64>,
    /// Whether that rests on guesses, for most of the work that is left. Guesses
    /// are cautious, so that it will rather be over sooner.
    pub is_guess: bool,
}
