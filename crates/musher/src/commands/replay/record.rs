//! What came of a replay as JSON. Times are in seconds.

use musher_sim::{Chain, Fleet, Outcome, Policy, Waiting};
use serde::Serialize;

/// What came of one policy.
#[derive(Debug, Serialize)]
pub(super) struct ReplayRecord<'a> {
    policy: &'static str,
    makespan_s: f64,
    lower_bound_s: f64,
    /// The one beside the other.
    ratio: f64,
    waiting_s: WaitingRecord,
    chain_s: ChainRecord,
    machines: Vec<UseRecord<'a>>,
    requests: Vec<RequestRecord<'a>>,
}

/// What builds waited for, added up over all.
#[derive(Debug, Serialize)]
struct WaitingRecord {
    dependencies: f64,
    slots: f64,
    transfers: f64,
}

/// What the makespan consists of.
#[derive(Debug, Serialize)]
struct ChainRecord {
    arrival: f64,
    building: f64,
    slower_machines: f64,
    slots: f64,
    transfers: f64,
    reports: f64,
}

#[derive(Debug, Serialize)]
struct UseRecord<'a> {
    name: &'a str,
    speed: f64,
    slots: u32,
    attempts: usize,
    building_s: f64,
    fetching_s: f64,
    fetched_bytes: u64,
    /// From 0 to 1.
    busy: f64,
}

#[derive(Debug, Serialize)]
struct RequestRecord<'a> {
    root: &'a str,
    arrival_s: f64,
    end_s: f64,
    slowdown: f64,
}

impl<'a> ReplayRecord<'a> {
    pub(super) fn new(policy: Policy, played: &'a Outcome, fleet: &Fleet) -> Self {
        Self {
            policy: policy.name(),
            makespan_s: played.makespan,
            lower_bound_s: played.lower_bound,
            ratio: played.ratio(),
            waiting_s: played.waiting.into(),
            chain_s: played.chain.into(),
            machines: (played.machines.iter().zip(&fleet.machines))
                .map(|(used, machine)| UseRecord {
                    name: used.machine.as_str(),
                    speed: machine.spec.speed_factor.value(),
                    slots: machine.spec.slots,
                    attempts: used.attempts,
                    building_s: used.building,
                    fetching_s: used.fetching,
                    fetched_bytes: used.fetched_bytes,
                    busy: used.busy,
                })
                .collect(),
            requests: (played.requests.iter())
                .map(|request| RequestRecord {
                    root: &request.root,
                    arrival_s: request.arrival,
                    end_s: request.end,
                    slowdown: request.slowdown,
                })
                .collect(),
        }
    }
}

impl From<Waiting> for WaitingRecord {
    fn from(waiting: Waiting) -> Self {
        Self {
            dependencies: waiting.dependencies,
            slots: waiting.slots,
            transfers: waiting.transfers,
        }
    }
}

impl From<Chain> for ChainRecord {
    fn from(chain: Chain) -> Self {
        Self {
            arrival: chain.arrival,
            building: chain.building,
            slower_machines: chain.slower_machines,
            slots: chain.slots,
            transfers: chain.transfers,
            reports: chain.reports,
        }
    }
}

/// Where and when everything was built, for a program that verifies it.
#[derive(Debug, Serialize)]
pub(super) struct ScheduleRecord<'a> {
    machines: Vec<MachineRecord<'a>>,
    attempts: Vec<AttemptRecord<'a>>,
}

#[derive(Debug, Serialize)]
struct MachineRecord<'a> {
    name: &'a str,
    speed: f64,
    slots: u32,
    /// 0 if transfers take no time.
    mbit: f64,
}

#[derive(Debug, Serialize)]
struct AttemptRecord<'a> {
    /// Nodes of further graphs are counted on from the first.
    node: usize,
    machine: &'a str,
    start_s: f64,
    end_s: f64,
}

impl<'a> ScheduleRecord<'a> {
    pub(super) fn new(played: &'a Outcome, fleet: &'a Fleet) -> Self {
        Self {
            machines: (fleet.machines.iter())
                .map(|machine| MachineRecord {
                    name: machine.spec.id.as_str(),
                    speed: machine.spec.speed_factor.value(),
                    slots: machine.spec.slots,
                    mbit: machine.mbit.unwrap_or_default(),
                })
                .collect(),
            attempts: (played.attempts.iter())
                .map(|attempt| AttemptRecord {
                    node: attempt.node,
                    machine: attempt.machine.as_str(),
                    start_s: attempt.start,
                    end_s: attempt.end,
                })
                .collect(),
        }
    }
}
