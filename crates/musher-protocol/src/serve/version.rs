//! Versions of the serve protocol. Knows no message.

use std::fmt;

/// The client's first word.
pub(super) const CLIENT_MAGIC: u64 = 0x390c_9deb;
/// The server's first word.
pub(super) const SERVER_MAGIC: u64 = 0x5452_eecb;

/// A version 2.x of the serve protocol. There is no other major version in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u8);

impl Version {
    /// The oldest version that a session speaks (Nix 2.3).
    pub const MIN: Self = Self(5);
    /// The newest version that a session speaks (Nix 2.35).
    pub const MAX: Self = Self(8);

    /// Version 2.`minor`.
    pub const fn new(minor: u8) -> Self {
        Self(minor)
    }

    /// The part after `2.`.
    pub const fn minor(self) -> u8 {
        self.0
    }

    /// The number that stands for it on the wire.
    pub fn number(self) -> u64 {
        0x200 | u64::from(self.0)
    }

    /// The version behind a number on the wire, if it is a 2.x.
    pub fn from_number(number: u64) -> Option<Self> {
        match number.to_le_bytes() {
            [minor, 2, 0, 0, 0, 0, 0, 0] => Some(Self(minor)),
            _ => None,
        }
    }

    /// Results say how often and when they were built.
    pub(super) fn has_build_times(self) -> bool {
        self.0 >= 3
    }

    /// Path infos have the NAR's hash, the content address and signatures.
    pub(super) fn has_nar_hash(self) -> bool {
        self.0 >= 4
    }

    /// Results name the outputs: as JSON first, as paths from 2.8.
    pub(super) fn built_outputs(self) -> BuiltOutputsForm {
        match self.0 {
            0..=5 => BuiltOutputsForm::Absent,
            6..=7 => BuiltOutputsForm::Json,
            _ => BuiltOutputsForm::Paths,
        }
    }
}

/// How a build result names its outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BuiltOutputsForm {
    /// Not at all.
    Absent,
    /// Output ids and realisations as JSON.
    Json,
    /// Output names, paths and signatures.
    Paths,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "2.{}", self.0)
    }
}

/// What the two ends of a session agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Negotiated {
    /// The lower of both ends' versions.
    pub version: Version,
}
