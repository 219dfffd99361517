//! The coordinator's status as JSON.

use musher_api::coordinator as api;
use musher_protocol::types::BuildStatus;
use serde::Serialize;

use crate::ui::plain;

/// What the coordinator does.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct StatusRecord {
    /// The coordinator's, which may differ from this program's.
    pub(super) version: String,
    pub(super) pid: u32,
    /// In seconds since 1970.
    pub(super) started: u64,
    /// Its configuration file, and its directory of what is kept; null where it
    /// does not say.
    pub(super) config: Option<String>,
    pub(super) state: Option<String>,
    pub(super) machines: Vec<FleetRecord>,
    pub(super) running: Vec<RunningRecord>,
    pub(super) waiting: Vec<WaitingRecord>,
    /// Those that ended lately, the newest last.
    pub(super) finished: Vec<FinishedRecord>,
}

/// A machine of the fleet.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct FleetRecord {
    pub(super) name: String,
    pub(super) connect: String,
    pub(super) systems: Vec<String>,
    #[serde(flatten)]
    pub(super) live: LiveRecord,
}

/// How a machine is at present.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct LiveRecord {
    /// `available`, `away` or `drained`.
    pub(crate) state: String,
    /// Why it is away.
    pub(crate) reason: Option<String>,
    /// How many slots are taken.
    pub(crate) running: u32,
    pub(crate) slots: u32,
    /// What it said of itself; null where it did not.
    pub(crate) nix_version: Option<String>,
    pub(crate) protocol: Option<String>,
    /// `trusted` or `not trusted`.
    pub(crate) trust: Option<String>,
}

/// A build that runs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct RunningRecord {
    pub(super) drv_path: String,
    pub(super) machine: String,
    /// In seconds since 1970.
    pub(super) since: u64,
    /// How many sessions follow it.
    pub(super) watchers: u32,
}

/// A build that waits.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct WaitingRecord {
    pub(super) drv_path: String,
    pub(super) reason: String,
    /// How many sessions follow it.
    pub(super) watchers: u32,
}

/// A build that ended.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct FinishedRecord {
    pub(super) drv_path: String,
    /// Null if it ran nowhere.
    pub(super) machine: Option<String>,
    /// `built`, `permanent-failure`, …
    pub(super) status: String,
    /// Of its last attempt.
    pub(super) duration_ms: u64,
    /// In seconds since 1970.
    pub(super) ended: u64,
    pub(super) attempts: u32,
}

/// Text that is there; some is what machines said.
fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| plain(text))
}

impl From<api::StatusReply> for StatusRecord {
    fn from(reply: api::StatusReply) -> Self {
        let (waiting, running): (Vec<_>, Vec<_>) = (reply.builds.into_iter())
            // One that is being prepared has neither a machine nor a reason.
            .partition(|build| build.machine.is_empty());
        Self {
            version: reply.version,
            pid: reply.pid,
            started: reply.started,
            config: some(&reply.config),
            state: some(&reply.state),
            machines: reply.machines.into_iter().map(Into::into).collect(),
            running: running.into_iter().map(Into::into).collect(),
            waiting: waiting.into_iter().map(Into::into).collect(),
            finished: reply.finished.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<api::Machine> for FleetRecord {
    fn from(machine: api::Machine) -> Self {
        Self {
            name: machine.name.clone(),
            connect: machine.connect.clone(),
            systems: machine.systems.clone(),
            live: machine.into(),
        }
    }
}

impl From<api::Machine> for LiveRecord {
    fn from(machine: api::Machine) -> Self {
        Self {
            state: machine.state,
            reason: some(&machine.reason),
            running: machine.running,
            slots: machine.slots,
            nix_version: some(&machine.nix_version),
            protocol: some(&machine.protocol),
            trust: some(&machine.trust).filter(|trust| trust != "unknown"),
        }
    }
}

impl From<api::Build> for RunningRecord {
    fn from(build: api::Build) -> Self {
        Self {
            drv_path: build.drv_path,
            machine: build.machine,
            since: build.since,
            watchers: build.watchers,
        }
    }
}

impl From<api::Build> for WaitingRecord {
    fn from(build: api::Build) -> Self {
        Self {
            drv_path: build.drv_path,
            reason: some(&build.waiting).unwrap_or_else(|| "it is being prepared".to_owned()),
            watchers: build.watchers,
        }
    }
}

impl From<api::FinishedBuild> for FinishedRecord {
    fn from(build: api::FinishedBuild) -> Self {
        Self {
            drv_path: build.drv_path,
            machine: some(&build.machine),
            status: status(build.status),
            duration_ms: build.duration_ms,
            ended: build.ended,
            attempts: build.attempts,
        }
    }
}

/// Nix's name of a build status.
fn status(number: u32) -> String {
    let known = BuildStatus::ALL.into_iter().find(|s| *s as u32 == number);
    let name = match known {
        Some(BuildStatus::Built) => "built",
        Some(BuildStatus::Substituted) => "substituted",
        Some(BuildStatus::AlreadyValid) => "already-valid",
        Some(BuildStatus::PermanentFailure) => "permanent-failure",
        Some(BuildStatus::InputRejected) => "input-rejected",
        Some(BuildStatus::OutputRejected) => "output-rejected",
        Some(BuildStatus::TransientFailure) => "transient-failure",
        Some(BuildStatus::CachedFailure) => "cached-failure",
        Some(BuildStatus::TimedOut) => "timed-out",
        Some(BuildStatus::MiscFailure) => "misc-failure",
        Some(BuildStatus::DependencyFailed) => "dependency-failed",
        Some(BuildStatus::LogLimitExceeded) => "log-limit-exceeded",
        Some(BuildStatus::NotDeterministic) => "not-deterministic",
        Some(BuildStatus::ResolvesToAlreadyValid) => "resolves-to-already-valid",
        Some(BuildStatus::NoSubstituters) => "no-substituters",
        None => return number.to_string(),
    };
    name.to_owned()
}
