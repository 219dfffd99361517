//! What becomes of a derivation, as JSON.

use musher_api::coordinator as api;
use musher_api::coordinator::why_reply::State;
use serde::Serialize;

use crate::commands::history::record::AttemptRecord;
use crate::ui::{plain, plain_line, status};

/// What becomes of a derivation.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct WhyRecord {
    /// Null where only an output is known.
    pub(super) derivation: Option<String>,
    #[serde(flatten)]
    pub(super) state: StateRecord,
    /// Who asks for it.
    pub(super) asked_by: Vec<String>,
    /// Null where nothing is expected.
    pub(super) expected: Option<ExpectedRecord>,
    /// Its own time with that of the longest row of builds that need it, at
    /// speed 1.
    pub(super) rank_seconds: Option<f64>,
    /// How attempts were lost, the oldest first.
    pub(super) faults: Vec<String>,
}

/// What it is expected to cost.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct ExpectedRecord {
    /// At speed 1.
    pub(super) seconds: f64,
    /// `known`, `similar` or `guess`.
    pub(super) confidence: String,
    /// How many builds that rests on.
    pub(super) based_on: u32,
    pub(super) peak_memory_bytes: Option<u64>,
    pub(super) output_bytes: Option<u64>,
}

#[derive(Debug, Serialize)]
#[serde(
    tag = "state",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub(super) enum StateRecord {
    /// It needs these first.
    Planned { after: Vec<String> },
    /// It could run.
    Waiting {
        for_ms: u64,
        /// Null while its inputs are looked up.
        waiting: Option<WaitingRecord>,
    },
    /// An attempt runs.
    Running {
        machine: String,
        for_ms: u64,
        /// Until it was expected to end; negative since.
        left_ms: i64,
        placement: Option<PlacementRecord>,
    },
    /// It ended lately.
    Ended {
        /// Null if it ran nowhere.
        machine: Option<String>,
        /// In Nix's words, like `built` and `permanent-failure`.
        status: String,
        #[serde(skip)]
        is_well: bool,
        /// Of its last attempt.
        duration_ms: u64,
        attempts: u32,
        /// In seconds since 1970.
        ended: u64,
        placement: Option<PlacementRecord>,
    },
    /// Nobody asks for it.
    NotAsked {
        outputs: Vec<OutputRecord>,
        /// Machines that could build it, if the derivation is known.
        able: Vec<String>,
        lacks: Vec<LackRecord>,
        /// The newest attempt that the history knows.
        last: Option<Box<AttemptRecord>>,
    },
    /// A state that this release does not know.
    Unknown,
}

/// What a build waits for.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct WaitingRecord {
    /// How many go first; 100 stands for more.
    pub(super) ahead: u32,
    /// Who has as many builds running as they may have.
    pub(super) limit: Option<LimitRecord>,
    pub(super) machines: Vec<ObstacleRecord>,
    /// How many machines are left out.
    pub(super) more: u32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct LimitRecord {
    pub(super) owner: String,
    pub(super) running: u32,
}

/// Why a machine does not make it now.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct ObstacleRecord {
    pub(super) machine: String,
    /// `lacks`, `drained`, `away`, `full`, `faulted-here`, `no-memory`, `slower`
    /// or `others-first`.
    pub(super) reason: String,
    pub(super) text: String,
    /// The machine that is waited for instead.
    pub(super) awaited: Option<String>,
}

/// Why it is where it is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct PlacementRecord {
    pub(super) because: String,
    pub(super) chosen: Option<SlotRecord>,
    /// The best first.
    pub(super) others: Vec<SlotRecord>,
}

/// A slot, as was expected when it was decided.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct SlotRecord {
    pub(super) machine: String,
    /// 0 if it was free.
    pub(super) free_in_ms: u64,
    pub(super) done_in_ms: u64,
    pub(super) missing_bytes: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct OutputRecord {
    /// Null where only the path is known.
    pub(super) name: Option<String>,
    /// Null where it is not known before the build.
    pub(super) path: Option<String>,
    pub(super) valid: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct LackRecord {
    pub(super) machine: String,
    pub(super) lacks: Vec<String>,
}

fn some(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

impl From<api::WhyReply> for WhyRecord {
    fn from(reply: api::WhyReply) -> Self {
        let based_on = reply.based_on;
        Self {
            derivation: some(reply.drv_path),
            state: reply.state.map_or(StateRecord::Unknown, Into::into),
            asked_by: reply.owners.iter().map(|owner| plain_line(owner)).collect(),
            expected: reply.estimate.map(|estimate| ExpectedRecord {
                seconds: estimate.seconds,
                confidence: estimate.confidence,
                based_on,
                peak_memory_bytes: estimate.peak_memory_bytes,
                output_bytes: estimate.output_bytes,
            }),
            rank_seconds: reply.rank_seconds,
            faults: reply.faults.iter().map(|fault| plain(fault)).collect(),
        }
    }
}

impl From<State> for StateRecord {
    fn from(state: State) -> Self {
        match state {
            State::Planned(planned) => Self::Planned {
                after: planned.after,
            },
            State::Waiting(waiting) => Self::Waiting {
                for_ms: waiting.for_ms,
                waiting: waiting.details.as_ref().map(Into::into),
            },
            State::Running(running) => Self::Running {
                machine: running.machine,
                for_ms: running.for_ms,
                left_ms: running.left_ms,
                placement: running.placement.map(Into::into),
            },
            State::Ended(ended) => {
                let build = ended.build.unwrap_or_default();
                Self::Ended {
                    machine: some(build.machine),
                    status: status::words(build.status),
                    is_well: status::is_success(build.status),
                    duration_ms: build.duration_ms,
                    attempts: build.attempts,
                    ended: build.ended,
                    placement: ended.placement.map(Into::into),
                }
            }
            State::Unasked(unasked) => Self::NotAsked {
                outputs: unasked.outputs.into_iter().map(Into::into).collect(),
                able: unasked.able,
                lacks: unasked.lacks.into_iter().map(Into::into).collect(),
                last: unasked.last.map(|last| Box::new(last.into())),
            },
        }
    }
}

impl From<&api::WaitingFor> for WaitingRecord {
    fn from(waiting: &api::WaitingFor) -> Self {
        let limit = LimitRecord {
            owner: plain_line(&waiting.limited_owner),
            running: waiting.limit,
        };
        let machines = waiting.obstacles.iter().map(|it| ObstacleRecord {
            machine: it.machine.clone(),
            reason: it.kind.clone(),
            text: plain_line(&it.text),
            awaited: some(it.awaited.clone()),
        });
        Self {
            ahead: waiting.ahead,
            limit: Some(limit).filter(|limit| !limit.owner.is_empty()),
            machines: machines.collect(),
            more: waiting.more,
        }
    }
}

impl From<api::Placement> for PlacementRecord {
    fn from(placement: api::Placement) -> Self {
        Self {
            because: placement.because,
            chosen: placement.chosen.map(Into::into),
            others: placement.others.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<api::Slot> for SlotRecord {
    fn from(slot: api::Slot) -> Self {
        Self {
            machine: slot.machine,
            free_in_ms: slot.free_in_ms,
            done_in_ms: slot.done_in_ms,
            missing_bytes: slot.missing_bytes,
        }
    }
}

impl From<api::OutputState> for OutputRecord {
    fn from(output: api::OutputState) -> Self {
        Self {
            name: some(output.name),
            path: some(output.path),
            valid: output.valid,
        }
    }
}

impl From<api::MachineLack> for LackRecord {
    fn from(lack: api::MachineLack) -> Self {
        Self {
            machine: lack.machine,
            lacks: lack.lacks,
        }
    }
}
