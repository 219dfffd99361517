//! The machines as the core keeps them: who speaks to each, and what each is
//! known to hold.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use musher_protocol::types::BuildStatus;
use musher_scheduler::{Event, MachineId, MachineSpec, Presence};
use nix_derivation::StorePath;
use tracing::{info, warn};

use super::Core;
use super::record::State;
use crate::build::Ended;
use crate::builder::{Builder, BuilderInfo};
use crate::known_paths::KnownPaths;
use crate::supervisor::{Supervisor, supervise};
use crate::supply::Traffic;

/// A machine as it is to be from now on.
pub(crate) struct MachineSetup {
    /// What it offers.
    pub(crate) spec: MachineSpec,
    /// How it is reached, for people.
    pub(crate) shown: String,
    /// All that decides how it is reached; a change means another machine.
    pub(crate) connect: String,
    /// What speaks to it; used only if the machine is new.
    pub(crate) builder: Arc<dyn Builder>,
    /// Whether it is a child process of ours: nobody else can bring it back.
    pub(crate) is_child: bool,
}

/// What happened to a machine.
pub(crate) enum MachineNews {
    /// It answers.
    Up(BuilderInfo),
    /// It does not, for this reason; it is tried again after this time.
    Away {
        /// For people.
        reason: String,
        /// Until the next try.
        retry_in: Duration,
    },
}

/// How often in a row a child of ours may fail to start until what only it could
/// build is given up: a quarter of a minute by the waits in between.
const FAILED_STARTS: u32 = 5;

/// A machine of the fleet.
pub(super) struct Machine {
    pub(super) shown: String,
    connect: String,
    pub(super) builder: Arc<dyn Builder>,
    pub(super) known: Arc<KnownPaths>,
    /// What is sent to it.
    pub(super) traffic: Arc<Traffic>,
    pub(super) info: Option<BuilderInfo>,
    /// How many attempts it makes at once.
    pub(super) slots: u32,
    is_child: bool,
    /// How often in a row it could not be reached since it last could.
    failures: u32,
    /// Tells it from others that had its name.
    turn: u64,
    /// Connects, and connects again; ends with the machine.
    supervisor: Supervisor,
}

impl Machine {
    /// Something went wrong there: see whether it still answers.
    pub(super) fn suspect(&self) {
        self.supervisor.check();
    }

    /// Whether it can be expected never to come back by itself.
    fn is_hopeless(&self) -> bool {
        self.is_child && self.failures >= FAILED_STARTS
    }
}

impl Core {
    /// Makes `machines` the fleet; says what changed, one line each. What is
    /// new comes before what goes: a build that fits only a machine that was
    /// renamed must not be refused in between.
    pub(super) fn configure(&mut self, machines: BTreeMap<MachineId, MachineSetup>) -> Vec<String> {
        self.reasons.are_stale_now();
        let mut changes = Vec::new();
        let gone: Vec<_> = self
            .machines
            .keys()
            .filter(|id| !machines.contains_key(*id))
            .cloned()
            .collect();
        for (id, setup) in machines {
            let moved = self
                .machines
                .get(&id)
                .is_some_and(|machine| machine.connect != setup.connect);
            if moved {
                changes.push(format!("machine `{id}` is reached in another way"));
                self.hand_back(&id);
                self.machines.remove(&id);
            } else if !self.machines.contains_key(&id) {
                changes.push(format!("machine `{id}` is new"));
            } else if self.offers_differ(&setup.spec) {
                changes.push(format!("machine `{id}` offers something else"));
            }
            if !self.machines.contains_key(&id) {
                let builder = setup.builder;
                self.last_turn += 1;
                let turn = self.last_turn;
                let core = self.handle.clone();
                let supervisor = supervise(id.clone(), turn, builder.clone(), core);
                let machine = Machine {
                    shown: setup.shown,
                    connect: setup.connect,
                    builder,
                    known: Arc::default(),
                    traffic: Arc::default(),
                    info: None,
                    slots: setup.spec.slots,
                    is_child: setup.is_child,
                    failures: 0,
                    turn,
                    supervisor,
                };
                self.machines.insert(id.clone(), machine);
            }
            if let Some(machine) = self.machines.get_mut(&id) {
                machine.slots = setup.spec.slots;
            }
            self.history.configure(&setup.spec);
            self.tell(Event::MachineConfigured { spec: setup.spec });
        }
        self.tell_speeds();
        for id in gone {
            changes.push(format!("machine `{id}` is gone"));
            self.tell(Event::MachineRemoved {
                machine: id.clone(),
            });
            self.machines.remove(&id);
        }
        changes
    }

    /// Takes back every attempt from a machine that is to be reached in another
    /// way from now on, to nobody's blame. It stays in the fleet meanwhile: what
    /// only this machine can build must not be refused.
    fn hand_back(&mut self, id: &MachineId) {
        let machine = || id.clone();
        let drained = (self.scheduler.fleet()).any(|view| view.spec.id == *id && view.drained);
        self.tell(Event::MachineDrained { machine: machine() });
        let leases: Vec<_> = (self.leases.iter())
            .filter(|(_, running)| running.machine == *id)
            .map(|(lease, _)| *lease)
            .collect();
        for lease in leases {
            self.cancel(lease, id);
        }
        self.tell(Event::MachineAway {
            machine: machine(),
            reason: "not connected yet".to_owned(),
            retry_at: None,
        });
        self.tell(Event::StoreForgotten { machine: machine() });
        if !drained {
            self.tell(Event::MachineResumed { machine: machine() });
        }
    }

    fn offers_differ(&self, spec: &MachineSpec) -> bool {
        self.scheduler
            .fleet()
            .any(|view| view.spec.id == spec.id && view.spec != spec)
    }

    pub(super) fn machine_news(&mut self, machine: MachineId, turn: u64, news: MachineNews) {
        self.reasons.are_stale_now();
        let known = self.machines.get_mut(&machine);
        let Some(known) = known.filter(|machine| machine.turn == turn) else {
            return;
        };
        match news {
            MachineNews::Up(builder_info) => {
                info!(%machine, nix = builder_info.nix_version, "machine available");
                known.info = Some(builder_info);
                known.failures = 0;
                self.tell(Event::MachineAvailable { machine });
            }
            MachineNews::Away { reason, retry_in } => {
                warn!(%machine, reason, "machine away");
                known.failures = known.failures.saturating_add(1);
                let is_hopeless = known.is_hopeless();
                let retry_at = Some(self.now() + retry_in);
                self.tell(Event::MachineAway {
                    machine,
                    reason,
                    retry_at,
                });
                if is_hopeless {
                    self.give_up_on_children();
                }
            }
        }
    }

    /// Ends the builds that only children of ours could make that do not start.
    /// To wait for these is to wait for whoever reads why they do not.
    fn give_up_on_children(&mut self) {
        let queued = (self.builds.iter()).filter(|(_, record)| record.state == State::Queued);
        let hopeless = queued.filter_map(|(build, record)| {
            let able = self.scheduler.could_build(&record.spec.needs()).ok()?;
            let is_hopeless = |id| self.machines.get(id).is_some_and(Machine::is_hopeless);
            (able.iter().all(is_hopeless)).then_some((*build, able))
        });
        for (build, able) in hopeless.collect::<Vec<_>>() {
            let text = self.why_away(&able);
            self.end(build, Ended::nowhere(BuildStatus::TransientFailure, &text));
            self.tell(Event::BuildCancelled { build });
        }
    }

    /// Why none of `machines` starts, in one line.
    fn why_away(&self, machines: &[MachineId]) -> String {
        let away = (self.scheduler.fleet()).filter_map(|view| match view.presence {
            Presence::Away { reason, .. } if machines.contains(&view.spec.id) => {
                Some(format!("`{}`: {reason}", view.spec.id))
            }
            Presence::Away { .. } | Presence::Available => None,
        });
        let away: Vec<_> = away.collect();
        format!(
            "the worker that could build it does not start: {}",
            away.join("; ")
        )
    }

    /// The machine holds `paths`.
    pub(super) fn remember(&mut self, machine: &MachineId, paths: Vec<StorePath>) {
        let Some(known) = self.machines.get(machine) else {
            return;
        };
        let forgotten = known.known.remember(paths.iter().cloned());
        self.tell(Event::PathsHeld {
            machine: machine.clone(),
            paths,
        });
        if !forgotten.is_empty() {
            self.tell(Event::PathsForgotten {
                machine: machine.clone(),
                paths: forgotten,
            });
        }
    }

    /// The machine may have lost `paths`.
    pub(super) fn forget_paths(&mut self, machine: &MachineId, paths: &[StorePath]) {
        let Some(known) = self.machines.get(machine) else {
            return;
        };
        known.known.forget(paths);
        let paths = paths.to_vec();
        self.tell(Event::PathsForgotten {
            machine: machine.clone(),
            paths,
        });
    }
}
