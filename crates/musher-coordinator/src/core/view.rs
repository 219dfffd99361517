//! What the core shows of itself. Shapes and words; decides nothing.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use musher_protocol::types::BuildStatus;
use musher_scheduler::{MachineId, MachineSpec, Needs, Presence, Status, WhyNot};
use nix_derivation::StorePath;

use super::record::Record;
use super::{Core, State};
use crate::build::{Ended, Stage};
use crate::builder::BuilderInfo;

/// What a machine lacks for some build, one line each; nothing if it is able.
pub(crate) type Lacks = Vec<String>;

/// Everything there is to see.
pub(crate) struct View {
    /// The fleet, by name.
    pub(crate) machines: Vec<MachineView>,
    /// Builds that have not ended, oldest first.
    pub(crate) builds: Vec<BuildView>,
    /// Builds that ended lately, newest last.
    pub(crate) finished: Vec<Finished>,
}

/// A machine of the fleet.
pub(crate) struct MachineView {
    /// What it offers.
    pub(crate) spec: MachineSpec,
    /// How it is reached.
    pub(crate) connect: String,
    /// Whether it is.
    pub(crate) presence: Presence,
    /// Whether the user wants no builds sent there.
    pub(crate) drained: bool,
    /// Slots taken.
    pub(crate) running: usize,
    /// What it said of itself when it was last reached.
    pub(crate) info: Option<BuilderInfo>,
}

/// A build that has not ended.
pub(crate) struct BuildView {
    /// Its derivation.
    pub(crate) drv_path: StorePath,
    /// Where it runs, if it does.
    pub(crate) machine: Option<MachineId>,
    /// How long its attempt has been running.
    pub(crate) running_for: Option<Duration>,
    /// What it waits for; empty if it runs.
    pub(crate) waiting: String,
    /// How many follow it.
    pub(crate) watchers: usize,
}

/// A build that ended.
#[derive(Debug, Clone)]
pub(crate) struct Finished {
    /// Its derivation.
    pub(crate) drv_path: StorePath,
    /// Where it ran, if anywhere.
    pub(crate) machine: Option<MachineId>,
    /// How it ended.
    pub(crate) status: BuildStatus,
    /// How long its last attempt took.
    pub(crate) duration: Duration,
    /// When it ended.
    pub(crate) ended: SystemTime,
    /// How many attempts it took.
    pub(crate) attempts: u32,
}

impl Finished {
    pub(super) fn new(record: &Record, ended: &Ended) -> Self {
        Self {
            drv_path: record.spec.drv_path.clone(),
            machine: ended.machine.clone(),
            status: ended.result.status,
            duration: ended.took,
            ended: SystemTime::now(),
            attempts: record.attempts,
        }
    }
}

/// Why a build waits, in one line: the reasons of all machines, those alike
/// together.
pub(super) fn waiting_text(status: &Status) -> String {
    let Status::Waiting {
        ahead, machines, ..
    } = status
    else {
        return String::new();
    };
    let mut reasons: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (machine, why) in machines {
        // A machine that could never build it is no reason to wait.
        if !matches!(why, WhyNot::Lacks(_)) {
            reasons
                .entry(why.to_string())
                .or_default()
                .push(machine.as_str());
        }
    }
    let reasons: Vec<_> = (reasons.iter())
        .map(|(reason, machines)| format!("{} {reason}", machines.join(", ")))
        .collect();
    match ahead {
        0 => format!("waiting for a machine: {}", reasons.join("; ")),
        1 => format!("1 build is before it: {}", reasons.join("; ")),
        100.. => format!("100 builds and more are before it: {}", reasons.join("; ")),
        ahead => format!("{ahead} builds are before it: {}", reasons.join("; ")),
    }
}

impl Core {
    pub(super) fn could(&self, needs: &Needs) -> BTreeMap<MachineId, Lacks> {
        (self.scheduler.fleet())
            .map(|view| {
                let lacks = needs
                    .lacks(view.spec)
                    .iter()
                    .map(ToString::to_string)
                    .collect();
                (view.spec.id.clone(), lacks)
            })
            .collect()
    }

    pub(super) fn view(&self) -> View {
        let machines = (self.scheduler.fleet())
            .map(|view| {
                let machine = self.machines.get(&view.spec.id);
                MachineView {
                    spec: view.spec.clone(),
                    connect: machine
                        .map(|machine| machine.shown.clone())
                        .unwrap_or_default(),
                    presence: view.presence.clone(),
                    drained: view.drained,
                    running: view.running,
                    info: machine.and_then(|machine| machine.info.clone()),
                }
            })
            .collect();
        let builds = (self.builds.values())
            .filter(|record| record.state != State::Ended)
            .map(|record| self.build_view(record))
            .collect();
        View {
            machines,
            builds,
            finished: self.finished.iter().cloned().collect(),
        }
    }

    fn build_view(&self, record: &Record) -> BuildView {
        let running = match record.state {
            State::Running { lease } => self.leases.get(&lease),
            State::Preparing | State::Queued | State::Ended => None,
        };
        let waiting = match &record.progress.borrow().stage {
            Stage::Waiting(reason) => reason.to_string(),
            Stage::Running | Stage::Ended(_) => String::new(),
        };
        BuildView {
            drv_path: record.spec.drv_path.clone(),
            machine: running.map(|running| running.machine.clone()),
            running_for: running.map(|running| running.since.elapsed()),
            waiting,
            watchers: record.progress.receiver_count(),
        }
    }
}
