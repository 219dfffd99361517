//! Machines that are alike: they can make the same builds about as fast. What is
//! asked of many machines is asked of their groups. Knows nothing of builds.

use std::collections::BTreeSet;

use crate::{LeaseId, MachineId, MachineSpec, Timestamp};

/// How far speeds in one group are apart: a twentieth.
const STEP: f64 = 1.05;

/// What the machines of a group have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GroupKey {
    systems: BTreeSet<String>,
    supported_features: BTreeSet<String>,
    mandatory_features: BTreeSet<String>,
    /// One without slots suits no build.
    has_slots: bool,
    /// The logarithm of the speed, in steps.
    speed: i32,
}

impl GroupKey {
    /// The group of a machine like `spec` that is as fast as `speed`.
    pub(crate) fn of(spec: &MachineSpec, speed: f64) -> Self {
        Self {
            systems: spec.systems.clone(),
            supported_features: spec.supported_features.clone(),
            mandatory_features: spec.mandatory_features.clone(),
            has_slots: spec.slots > 0,
            speed: step_of(speed),
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "saturates; the logarithm of a finite number is a small one"
)]
fn step_of(speed: f64) -> i32 {
    (speed.ln() / STEP.ln()).round() as i32
}

/// How much of a machine is taken, for its speed; the smaller the better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Load(u64);

impl Load {
    /// `load` must be above zero.
    pub(crate) fn new(load: f64) -> Self {
        // The bits of positive numbers are in the order of the numbers.
        Self(load.to_bits())
    }
}

/// The open machines of one kind.
#[derive(Debug)]
pub(crate) struct Group {
    /// One of them, to ask what they lack.
    pub(crate) like: MachineSpec,
    /// How many they are.
    pub(crate) machines: usize,
    /// Those with a free slot, the least loaded first.
    pub(crate) free: BTreeSet<(Load, MachineId)>,
    /// The attempts on them, by when they were expected to end.
    pub(crate) busy: BTreeSet<(Timestamp, LeaseId)>,
}

impl Group {
    /// A group without machines yet, of those like `spec`.
    pub(crate) fn of(spec: &MachineSpec) -> Self {
        Self {
            like: spec.clone(),
            machines: 0,
            free: BTreeSet::new(),
            busy: BTreeSet::new(),
        }
    }
}
