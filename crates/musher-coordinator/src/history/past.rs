//! One attempt that ended, as the history has it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use musher_protocol::types::{BasicDerivation, BuildResult, BuildStatus};
use musher_scheduler::{BuildKind, MachineId, Observation, Observed};
use nix_derivation::StorePath;

/// An attempt that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PastAttempt {
    /// What was built.
    pub(crate) drv: StorePath,
    /// The system it was built for.
    pub(crate) system: String,
    /// What sort of work it was.
    pub(crate) kind: BuildKind,
    /// Where.
    pub(crate) machine: MachineId,
    /// How it ended.
    pub(crate) outcome: PastOutcome,
    /// When it began, in milliseconds since 1970.
    pub(crate) started: u64,
    /// From the start of the build program to its end.
    pub(crate) wall: Duration,
    /// From the order to the end, the sending of inputs included.
    pub(crate) took: Duration,
    /// CPU time, where the machine measures that.
    pub(crate) cpu: Option<Duration>,
    /// The most memory at one time, in bytes, where the machine measures that.
    pub(crate) peak_memory: Option<u64>,
    /// NAR bytes of the inputs that were sent there.
    pub(crate) sent: u64,
    /// NAR bytes of its outputs; none if there are none.
    pub(crate) output_bytes: Option<u64>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PastOutcome {
    /// It was built.
    Built,
    /// The build failed.
    Failed,
    /// It exceeded a limit of time or log.
    Stopped,
    /// The machine's memory was not enough.
    OutOfMemory,
    /// The machine was lost, or failed.
    Lost,
}

impl PastOutcome {
    const ALL: [Self; 5] = [
        Self::Built,
        Self::Failed,
        Self::Stopped,
        Self::OutOfMemory,
        Self::Lost,
    ];

    /// As it stands in the database.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Built => "built",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::OutOfMemory => "out-of-memory",
            Self::Lost => "lost",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == text)
    }

    /// What a build's result says; none if nothing was built.
    pub(crate) fn of(result: &BuildResult) -> Option<Self> {
        match result.status {
            BuildStatus::Built => Some(Self::Built),
            BuildStatus::Substituted
            | BuildStatus::AlreadyValid
            | BuildStatus::ResolvesToAlreadyValid
            | BuildStatus::CachedFailure
            | BuildStatus::DependencyFailed
            | BuildStatus::InputRejected
            | BuildStatus::NoSubstituters => None,
            BuildStatus::TimedOut | BuildStatus::LogLimitExceeded => Some(Self::Stopped),
            BuildStatus::PermanentFailure
            | BuildStatus::OutputRejected
            | BuildStatus::TransientFailure
            | BuildStatus::MiscFailure
            | BuildStatus::NotDeterministic => Some(Self::Failed),
        }
    }
}

impl PastAttempt {
    /// What is to be learnt from it, if anything.
    pub(super) fn observation(&self) -> Option<Observation> {
        let outcome = match self.outcome {
            PastOutcome::Built => Observed::Built,
            PastOutcome::OutOfMemory => Observed::OutOfMemory,
            PastOutcome::Failed | PastOutcome::Stopped | PastOutcome::Lost => return None,
        };
        Some(Observation {
            drv: self.drv.clone(),
            system: self.system.clone(),
            kind: self.kind,
            machine: self.machine.clone(),
            outcome,
            seconds: self.wall.as_secs_f64(),
            peak_memory: self.peak_memory,
            output_bytes: self.output_bytes,
            ended: self.started.saturating_add(millis(self.took)),
        })
    }
}

/// A time as the database has it.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds since 1970.
pub(crate) fn since_1970(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, millis)
}

/// The name of what a derivation's path stands for: `hello-2.12.1`.
pub(crate) fn plain_name(drv: &StorePath) -> &str {
    let name = drv.name();
    name.strip_suffix(".drv").unwrap_or(name)
}

/// What sort of work a derivation is.
pub(crate) fn build_kind(derivation: &BasicDerivation) -> BuildKind {
    let is_fixed = |hash: &str| !hash.is_empty() && hash != "impure";
    if derivation.builder.starts_with("builtin:") {
        BuildKind::Builtin
    } else if derivation
        .outputs
        .values()
        .any(|output| is_fixed(&output.hash))
    {
        BuildKind::FixedOutput
    } else if is_trivial(derivation) {
        BuildKind::Trivial
    } else {
        BuildKind::Ordinary
    }
}

/// Whether it is to be built where it is asked for, and not to be fetched: so
/// `writeText` and its like are marked, which take less than that would.
fn is_trivial(derivation: &BasicDerivation) -> bool {
    if let Some(json) = derivation.env.get("__json") {
        let attrs: serde_json::Value = serde_json::from_slice(json).unwrap_or_default();
        return attrs["preferLocalBuild"] == true && attrs["allowSubstitutes"] == false;
    }
    let is = |name: &str, value: &[u8]| derivation.env.get(name).is_some_and(|is| is == value);
    is("preferLocalBuild", b"1") && is("allowSubstitutes", b"")
}

/// A kind as it stands in the database.
pub(super) fn kind_str(kind: BuildKind) -> &'static str {
    match kind {
        BuildKind::Ordinary => "ordinary",
        BuildKind::FixedOutput => "fixed-output",
        BuildKind::Builtin => "builtin",
        BuildKind::Trivial => "trivial",
    }
}

pub(super) fn parse_kind(text: &str) -> Option<BuildKind> {
    [
        BuildKind::Ordinary,
        BuildKind::FixedOutput,
        BuildKind::Builtin,
        BuildKind::Trivial,
    ]
    .into_iter()
    .find(|kind| kind_str(*kind) == text)
}
