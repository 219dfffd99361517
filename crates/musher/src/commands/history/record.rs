//! What the history knows, as JSON.

use musher_api::coordinator as api;
use serde::Serialize;

use crate::ui::plain;

/// What is known of past attempts.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct HistoryRecord {
    /// Of a package the newest first; otherwise the longest first.
    pub(super) attempts: Vec<AttemptRecord>,
    pub(super) estimates: Vec<EstimateRecord>,
    pub(super) speeds: Vec<SpeedRecord>,
    /// The newest first.
    pub(super) requests: Vec<RequestRecord>,
}

/// An attempt that ended.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::commands) struct AttemptRecord {
    /// The base name of the derivation's path.
    pub(super) drv: String,
    pub(super) name: String,
    pub(super) package: String,
    pub(super) system: String,
    pub(in crate::commands) machine: String,
    /// `built`, `failed`, `stopped`, `out-of-memory` or `lost`.
    pub(in crate::commands) outcome: String,
    /// In seconds since 1970.
    pub(super) started: u64,
    /// Of the build program.
    pub(in crate::commands) wall_ms: u64,
    /// With the sending of inputs.
    pub(super) took_ms: u64,
    /// Null where it was not measured, as the following.
    pub(super) cpu_ms: Option<u64>,
    pub(super) peak_memory_bytes: Option<u64>,
    /// Of inputs that the machine was not known to hold.
    pub(super) sent_bytes: u64,
    /// Null if it was not built.
    pub(super) output_bytes: Option<u64>,
}

/// What a build of it is expected to cost.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct EstimateRecord {
    pub(super) system: String,
    /// At speed 1.
    pub(super) seconds: f64,
    /// `known`, `similar` or `guess`.
    pub(super) confidence: String,
    /// Null where nothing is known of it.
    pub(super) peak_memory_bytes: Option<u64>,
    pub(super) output_bytes: Option<u64>,
}

/// How fast a machine was found to be.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct SpeedRecord {
    pub(super) machine: String,
    pub(super) factor: f64,
    pub(super) comparisons: u32,
}

/// A request whose graph is kept.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct RequestRecord {
    pub(super) id: u64,
    /// The base name of the path of a derivation that was asked for.
    pub(super) root: String,
    /// In seconds since 1970.
    pub(super) ended: u64,
    pub(super) builds: u64,
}

impl From<api::HistoryReply> for HistoryRecord {
    fn from(reply: api::HistoryReply) -> Self {
        Self {
            attempts: reply.attempts.into_iter().map(Into::into).collect(),
            estimates: reply.estimates.into_iter().map(Into::into).collect(),
            speeds: reply.speeds.into_iter().map(Into::into).collect(),
            requests: reply.requests.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<api::PastAttempt> for AttemptRecord {
    fn from(attempt: api::PastAttempt) -> Self {
        Self {
            drv: attempt.drv,
            name: attempt.name,
            package: attempt.package,
            // Whoever asks for a build says for which system.
            system: plain(&attempt.system),
            machine: attempt.machine,
            outcome: attempt.outcome,
            started: attempt.started,
            wall_ms: attempt.wall_ms,
            took_ms: attempt.took_ms,
            cpu_ms: attempt.cpu_ms,
            peak_memory_bytes: attempt.peak_memory_bytes,
            sent_bytes: attempt.sent_bytes,
            output_bytes: attempt.output_bytes,
        }
    }
}

impl From<api::BuildEstimate> for EstimateRecord {
    fn from(estimate: api::BuildEstimate) -> Self {
        Self {
            system: plain(&estimate.system),
            seconds: estimate.seconds,
            confidence: estimate.confidence,
            peak_memory_bytes: estimate.peak_memory_bytes,
            output_bytes: estimate.output_bytes,
        }
    }
}

impl From<api::MachineSpeed> for SpeedRecord {
    fn from(speed: api::MachineSpeed) -> Self {
        Self {
            machine: speed.machine,
            factor: speed.factor,
            comparisons: speed.comparisons,
        }
    }
}

impl From<api::PastRequest> for RequestRecord {
    fn from(request: api::PastRequest) -> Self {
        Self {
            id: request.id,
            root: request.root,
            ended: request.ended,
            builds: request.builds,
        }
    }
}
