//! A shell without sockets: it plays random events to the scheduler, carries
//! out the actions, and remembers what is true meanwhile, in the plainest way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use musher_scheduler::{
    Action, AttemptEnd, BuildId, Estimate, Event, Input, LeaseId, MachineId, MachineSpec, Needs,
    Scheduler, Settings, SpeedFactor, Timestamp,
};
use nix_derivation::StorePath;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};

/// Something that happens. Which build or lease is meant depends on those there
/// are by then.
#[derive(Debug, Clone)]
pub(crate) enum Happening {
    /// An event as it is.
    Told(Event),
    /// A new build is requested.
    Requested(Needs, Vec<Input>),
    /// Any build ever requested is no longer wanted.
    Cancelled(Index),
    /// Any attempt ever assigned ends, perhaps a second time.
    Ended(Index, AttemptEnd),
}

/// What became of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Wanted,
    Finished,
    Cancelled,
    Refused,
    GivenUp,
}

/// A machine as the events so far describe it.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) spec: MachineSpec,
    pub(crate) available: bool,
    pub(crate) drained: bool,
}

/// An attempt that takes a slot.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) build: BuildId,
    pub(crate) machine: MachineId,
    pub(crate) cancelled: bool,
}

/// All there is.
pub(crate) struct World {
    pub(crate) scheduler: Scheduler,
    pub(crate) now: Timestamp,
    pub(crate) machines: BTreeMap<MachineId, Known>,
    /// What each build ever requested needs.
    pub(crate) needs: BTreeMap<BuildId, Needs>,
    pub(crate) fates: BTreeMap<BuildId, Fate>,
    /// Attempts that have neither ended nor been lost.
    pub(crate) taken: BTreeMap<LeaseId, Taken>,
    /// Every lease ever given out, in the order they were.
    pub(crate) leases: Vec<LeaseId>,
    /// What the last event led to.
    pub(crate) actions: Vec<Action>,
    /// Attempts that the last event made pointless.
    pub(crate) pointless: BTreeSet<LeaseId>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            scheduler: Scheduler::new(Settings { max_faults: 3 }, LeaseId(100)),
            now: Timestamp::from_millis(0),
            machines: BTreeMap::new(),
            needs: BTreeMap::new(),
            fates: BTreeMap::new(),
            taken: BTreeMap::new(),
            leases: Vec::new(),
            actions: Vec::new(),
            pointless: BTreeSet::new(),
        }
    }

    /// Lets one thing happen; nothing, if it needs a build or lease and there
    /// is none.
    pub(crate) fn happen(&mut self, happening: &Happening) {
        let event = match happening {
            Happening::Told(event) => event.clone(),
            Happening::Requested(needs, inputs) => {
                let build = BuildId(self.needs.len() as u64);
                self.needs.insert(build, needs.clone());
                Event::BuildRequested {
                    request: None,
                    estimate: Estimate::UNKNOWN,
                    build,
                    needs: needs.clone(),
                    inputs: inputs.clone(),
                }
            }
            Happening::Cancelled(_) if self.needs.is_empty() => return,
            Happening::Cancelled(index) => Event::BuildCancelled {
                build: BuildId(index.index(self.needs.len()) as u64),
            },
            Happening::Ended(..) if self.leases.is_empty() => return,
            Happening::Ended(index, end) => Event::AttemptEnded {
                lease: *index.get(&self.leases),
                end: end.clone(),
            },
        };
        self.tell(event);
    }

    /// Tells the scheduler, and carries out what it decides.
    pub(crate) fn tell(&mut self, event: Event) {
        self.now = self.now + Duration::from_millis(10);
        self.pointless.clear();
        self.witness(&event);
        self.actions = self.scheduler.handle(self.now, event);
        for action in self.actions.clone() {
            self.carry_out(action);
        }
    }

    fn witness(&mut self, event: &Event) {
        match event {
            Event::MachineConfigured { spec } => self.configure(spec),
            Event::MachineRemoved { machine } => {
                self.lose(machine);
                self.machines.remove(machine);
            }
            Event::MachineAway { machine, .. } => {
                self.lose(machine);
                self.change(machine, |known| known.available = false);
            }
            Event::MachineAvailable { machine } => {
                self.change(machine, |known| known.available = true);
            }
            Event::MachineDrained { machine } => {
                self.change(machine, |known| known.drained = true);
            }
            Event::MachineResumed { machine } => {
                self.change(machine, |known| known.drained = false);
            }
            // Where paths are is a matter of taste, which no invariant is about.
            Event::PathsHeld { .. }
            | Event::PathsForgotten { .. }
            | Event::StoreForgotten { .. }
            | Event::LinkMeasured { .. }
            | Event::SpeedMeasured { .. }
            | Event::RequestOpened { .. }
            | Event::RequestClosed { .. }
            | Event::BuildsPlanned { .. }
            | Event::TimePassed => {}
            Event::BuildRequested { build, .. } => {
                self.fates.entry(*build).or_insert(Fate::Wanted);
            }
            Event::BuildCancelled { build } => {
                if let Some(fate @ Fate::Wanted) = self.fates.get_mut(build) {
                    *fate = Fate::Cancelled;
                    self.cancel_where(|taken| taken.build == *build);
                }
            }
            Event::AttemptEnded { lease, end } => {
                if let Some(taken) = self.taken.remove(lease)
                    && !taken.cancelled
                    && *end == AttemptEnd::Finished
                {
                    self.fates.insert(taken.build, Fate::Finished);
                }
            }
        }
    }

    fn configure(&mut self, spec: &MachineSpec) {
        (self.machines.entry(spec.id.clone()))
            .and_modify(|known| known.spec = spec.clone())
            .or_insert_with(|| Known {
                spec: spec.clone(),
                available: false,
                drained: false,
            });
    }

    fn change(&mut self, machine: &MachineId, change: impl FnOnce(&mut Known)) {
        if let Some(known) = self.machines.get_mut(machine) {
            change(known);
        }
    }

    fn lose(&mut self, machine: &MachineId) {
        self.cancel_where(|taken| taken.machine == *machine);
        self.taken.retain(|_, taken| taken.machine != *machine);
    }

    fn cancel_where(&mut self, which: impl Fn(&Taken) -> bool) {
        for (lease, taken) in &mut self.taken {
            if which(taken) && !taken.cancelled {
                taken.cancelled = true;
                self.pointless.insert(*lease);
            }
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Assign {
                build,
                machine,
                lease,
            } => {
                self.leases.push(lease);
                let taken = Taken {
                    build,
                    machine,
                    cancelled: false,
                };
                self.taken.insert(lease, taken);
            }
            Action::Cancel { .. } => {}
            Action::Refuse { build, .. } => {
                self.fates.insert(build, Fate::Refused);
            }
            Action::GiveUp { build, .. } => {
                self.fates.insert(build, Fate::GivenUp);
            }
        }
    }

    /// The builds somebody waits for.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = BuildId> {
        (self.fates.iter()).filter_map(|(build, fate)| (*fate == Fate::Wanted).then_some(*build))
    }

    /// The assignments the last event led to.
    pub(crate) fn assigned(&self) -> impl Iterator<Item = (BuildId, &MachineId)> {
        self.actions.iter().filter_map(|action| match action {
            Action::Assign { build, machine, .. } => Some((*build, machine)),
            Action::Cancel { .. } | Action::Refuse { .. } | Action::GiveUp { .. } => None,
        })
    }
}

/// A story of up to 120 happenings on four machines.
pub(crate) fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    prop::collection::vec(happening(), 0..120)
}

fn happening() -> impl Strategy<Value = Happening> {
    let end = prop_oneof![
        3 => Just(AttemptEnd::Finished),
        2 => Just(AttemptEnd::Faulted { reason: "disk full".into() }),
        1 => Just(AttemptEnd::Returned),
    ];
    prop_oneof![
        10 => event().prop_map(Happening::Told),
        10 => (needs(), inputs()).prop_map(|(needs, inputs)| Happening::Requested(needs, inputs)),
        1 => any::<Index>().prop_map(Happening::Cancelled),
        8 => (any::<Index>(), end).prop_map(|(index, end)| Happening::Ended(index, end)),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => spec().prop_map(|spec| Event::MachineConfigured { spec }),
        1 => machine().prop_map(|machine| Event::MachineRemoved { machine }),
        6 => machine().prop_map(|machine| Event::MachineAvailable { machine }),
        2 => machine().prop_map(|machine| Event::MachineAway {
            machine,
            reason: "unreachable".into(),
            retry_at: None,
        }),
        1 => machine().prop_map(|machine| Event::MachineDrained { machine }),
        2 => machine().prop_map(|machine| Event::MachineResumed { machine }),
        3 => (machine(), paths()).prop_map(|(machine, paths)| Event::PathsHeld { machine, paths }),
        1 => (machine(), paths())
            .prop_map(|(machine, paths)| Event::PathsForgotten { machine, paths }),
        1 => machine().prop_map(|machine| Event::StoreForgotten { machine }),
    ]
}

fn machine() -> impl Strategy<Value = MachineId> {
    select(vec!["b1", "b2", "b3", "b4"]).prop_map(MachineId::from)
}

fn spec() -> impl Strategy<Value = MachineSpec> {
    let features = || subset(&["kvm", "big"]);
    (
        machine(),
        subset(&["x", "y"]),
        0_u32..4,
        select(vec![0.5, 0.9, 1.0, 4.0]),
        features(),
        prop_oneof![3 => Just(BTreeSet::new()), 1 => features()],
    )
        .prop_map(
            |(id, systems, slots, speed, supported, mandatory)| MachineSpec {
                id,
                systems,
                slots,
                speed_factor: SpeedFactor::new(speed).unwrap(),
                supported_features: supported,
                mandatory_features: mandatory,
                memory: None,
            },
        )
}

fn needs() -> impl Strategy<Value = Needs> {
    let features = prop_oneof![3 => Just(BTreeSet::new()), 1 => subset(&["kvm", "big"])];
    (select(vec!["x", "x", "y", "builtin"]), features).prop_map(|(system, features)| Needs {
        system: system.into(),
        features,
    })
}

fn subset(of: &'static [&'static str]) -> impl Strategy<Value = BTreeSet<String>> {
    subsequence(of, 0..=of.len()).prop_map(|chosen| chosen.into_iter().map(str::to_owned).collect())
}

fn inputs() -> impl Strategy<Value = Vec<Input>> {
    (paths(), 1_u64..1000).prop_map(|(paths, nar_size)| {
        (paths.into_iter())
            .map(|path| Input { path, nar_size })
            .collect()
    })
}

fn paths() -> impl Strategy<Value = Vec<StorePath>> {
    subsequence(vec!["a", "b", "c"], 0..=3).prop_map(|names| {
        (names.into_iter())
            .map(|name| StorePath::from_parts([0; 20], name).unwrap())
            .collect()
    })
}
