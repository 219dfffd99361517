//! What the core shows of itself. Shapes and words; decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use musher_protocol::types::BuildStatus;
use musher_scheduler::{MachineId, MachineSpec, Needs, Placement, Presence};
use nix_derivation::StorePath;

use super::record::Record;
use super::{Core, RequestView, State};
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
    /// The open requests, oldest first.
    pub(crate) requests: Vec<RequestView>,
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
    /// Why the last was where it was.
    pub(crate) placement: Option<Placement>,
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
            placement: record.placement.clone(),
        }
    }
}

/// What a machine can do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Power {
    /// What it builds for.
    pub(crate) systems: BTreeSet<String>,
    /// Attempts at once.
    pub(crate) slots: u32,
    /// How fast each is, as far as that is known.
    pub(crate) speed: f64,
}

impl Core {
    /// What the machines that builds are given to can do.
    pub(super) fn powers(&self) -> BTreeMap<MachineId, Power> {
        let open = (self.scheduler.fleet())
            .filter(|view| !view.drained && *view.presence == Presence::Available);
        let power = |view: musher_scheduler::MachineView<'_>| Power {
            systems: view.spec.systems.clone(),
            slots: view.spec.slots,
            speed: view.speed,
        };
        open.map(|view| (view.spec.id.clone(), power(view)))
            .collect()
    }

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
            requests: self.outlooks.view(),
        }
    }

    fn build_view(&self, record: &Record) -> BuildView {
        let running = match record.state {
            State::Running { lease } => self.leases.get(&lease),
            State::Preparing | State::Queued | State::Ended => None,
        };
        let waiting = match &record.progress.borrow().stage {
            Stage::Waiting(waiting) => waiting.text.to_string(),
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
