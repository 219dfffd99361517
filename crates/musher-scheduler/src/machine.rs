//! A machine as configured and as seen: what it offers, and whether it can be
//! used. Knows nothing of builds.

use std::collections::BTreeSet;

use crate::{MachineId, Timestamp};

/// What a machine offers, as configured.
#[derive(Debug, Clone, PartialEq)]
pub struct MachineSpec {
    /// Its name.
    pub id: MachineId,
    /// The systems it builds for.
    pub systems: BTreeSet<String>,
    /// How many attempts it runs at once. With none it suits no build.
    pub slots: u32,
    /// How fast it is.
    pub speed_factor: SpeedFactor,
    /// Features it supports beside the mandatory ones.
    pub supported_features: BTreeSet<String>,
    /// Features a build must require to be built here.
    pub mandatory_features: BTreeSet<String>,
    /// The memory that its builds may take together, in bytes, where that is
    /// known.
    pub memory: Option<u64>,
}

impl MachineSpec {
    /// Whether a build that requires `feature` may run here: mandatory features
    /// count as supported.
    pub fn supports(&self, feature: &str) -> bool {
        self.supported_features.contains(feature) || self.mandatory_features.contains(feature)
    }
}

/// How fast a machine is beside one of factor 1: a finite number above zero.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct SpeedFactor(f64);

impl SpeedFactor {
    /// The factor of a machine for which none is configured.
    pub const ONE: Self = Self(1.0);

    /// The factor `value`, which must be finite and above zero.
    pub fn new(value: f64) -> Result<Self, InvalidSpeedFactor> {
        if value.is_finite() && value > 0.0 {
            Ok(Self(value))
        } else {
            Err(InvalidSpeedFactor { value })
        }
    }

    /// The factor as a number.
    pub const fn value(self) -> f64 {
        self.0
    }
}

/// A speed factor that is no positive number.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("a speed factor must be a number above 0, not `{value}`")]
pub struct InvalidSpeedFactor {
    /// What was given.
    pub value: f64,
}

/// Whether a machine can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// It answers; attempts may be sent to it.
    Available,
    /// It is set aside.
    Away {
        /// Why, in words for the user.
        reason: String,
        /// When it is tried again, if that is known.
        retry_at: Option<Timestamp>,
    },
}
