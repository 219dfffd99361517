//! How a build ended.

use std::collections::BTreeMap;

use super::{BuiltOutput, Text};

/// What a build is to do about outputs that exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BuildMode {
    /// Build what is not valid.
    #[default]
    Normal,
    /// Build again what is corrupt.
    Repair,
    /// Build again and compare.
    Check,
}

/// The class of a build's end, with Nix's numbers (`BuildResult::Status`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BuildStatus {
    /// It was built.
    Built = 0,
    /// Its outputs were substituted.
    Substituted = 1,
    /// Its outputs were there.
    AlreadyValid = 2,
    /// The build program failed, and would again.
    PermanentFailure = 3,
    /// The derivation is not acceptable.
    InputRejected = 4,
    /// An output is not acceptable.
    OutputRejected = 5,
    /// It failed, perhaps by chance.
    TransientFailure = 6,
    /// An earlier failure was remembered.
    CachedFailure = 7,
    /// It ran, or was silent, for too long.
    TimedOut = 8,
    /// It failed in some other way.
    MiscFailure = 9,
    /// Something it needs failed.
    DependencyFailed = 10,
    /// It wrote too much log.
    LogLimitExceeded = 11,
    /// A second build gave another result.
    NotDeterministic = 12,
    /// A content-addressed derivation resolved to one that was built before.
    ResolvesToAlreadyValid = 13,
    /// Nobody can substitute it, and it cannot be built.
    NoSubstituters = 14,
}

impl BuildStatus {
    /// Every status, in the order of its number.
    pub const ALL: [Self; 15] = [
        Self::Built,
        Self::Substituted,
        Self::AlreadyValid,
        Self::PermanentFailure,
        Self::InputRejected,
        Self::OutputRejected,
        Self::TransientFailure,
        Self::CachedFailure,
        Self::TimedOut,
        Self::MiscFailure,
        Self::DependencyFailed,
        Self::LogLimitExceeded,
        Self::NotDeterministic,
        Self::ResolvesToAlreadyValid,
        Self::NoSubstituters,
    ];

    /// Whether the outputs are there.
    pub fn is_success(self) -> bool {
        matches!(
            self,
            Self::Built | Self::Substituted | Self::AlreadyValid | Self::ResolvesToAlreadyValid
        )
    }
}

/// How a build ended, with all that any protocol version can say of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildResult {
    /// The class of its end.
    pub status: BuildStatus,
    /// What went wrong; empty after a success.
    pub error: Text,
    /// How often it was run.
    pub times_built: u64,
    /// Whether two runs differed.
    pub non_deterministic: bool,
    /// When it started, in seconds since 1970; 0 if it did not.
    pub start: u64,
    /// When it stopped, in seconds since 1970; 0 if it did not.
    pub stop: u64,
    /// CPU time in user mode, in microseconds, where the builder knows it.
    pub cpu_user: Option<u64>,
    /// CPU time in the kernel, in microseconds, where the builder knows it.
    pub cpu_system: Option<u64>,
    /// The outputs that are valid now, by output name.
    pub built_outputs: BTreeMap<String, BuiltOutput>,
}

impl BuildResult {
    /// A result of this class and nothing else to say.
    pub fn new(status: BuildStatus, error: impl Into<Text>) -> Self {
        Self {
            status,
            error: error.into(),
            times_built: 0,
            non_deterministic: false,
            start: 0,
            stop: 0,
            cpu_user: None,
            cpu_system: None,
            built_outputs: BTreeMap::new(),
        }
    }
}
