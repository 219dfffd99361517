//! The coordinator's status as JSON.

use musher_api::coordinator as api;
use serde::Serialize;

use crate::ui::{plain, status};

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
    /// The open requests, the oldest first.
    pub(super) requests: Vec<RequestRecord>,
}

/// A request under way.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct RequestRecord {
    pub(super) id: u64,
    /// Who asks.
    pub(super) owner: String,
    /// Builds that need others first, that wait for a machine, and that run.
    pub(super) planned: u64,
    pub(super) waiting: u64,
    pub(super) running: u64,
    /// How long it is expected to take from now on; null where nobody knows.
    pub(super) left_ms: Option<u64>,
    /// Whether that is mostly a guess, and rather too long.
    pub(super) guess: bool,
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
            requests: reply.requests.into_iter().map(Into::into).collect(),
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
            status: status::words(build.status),
            duration_ms: build.duration_ms,
            ended: build.ended,
            attempts: build.attempts,
        }
    }
}

impl From<api::OpenRequest> for RequestRecord {
    fn from(request: api::OpenRequest) -> Self {
        let outlook = request.outlook.unwrap_or_default();
        Self {
            id: request.id,
            owner: plain(&request.owner),
            planned: outlook.planned,
            waiting: outlook.waiting,
            running: outlook.running,
            left_ms: outlook.left_ms,
            guess: outlook.guess,
        }
    }
}
