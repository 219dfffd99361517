//! The state machine: every build, what became of it, and what to do next.
//! Knows neither how a machine is chosen (`placement`) nor how the queue is
//! kept (`queue`).

use std::collections::BTreeMap;

use crate::build::{Build, Class, State, Turn};
use crate::fleet::{Fleet, Machine};
use crate::placement::{self, Question};
use crate::queue::Queue;
use crate::{
    Action, AttemptEnd, BuildId, Event, Explanation, Fault, Input, LeaseId, MachineId, MachineView,
    Needs, Presence, Refusal, Status, Timestamp,
};

/// What the user may set about scheduling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How many attempts of one build may fail through machines' faults before
    /// the build is given up. With 0, as with 1, the first fault is the last.
    pub max_faults: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_faults: 5 }
    }
}

/// Which build runs on which machine.
#[derive(Debug)]
pub struct Scheduler {
    settings: Settings,
    next_lease: LeaseId,
    next_turn: Turn,
    fleet: Fleet,
    builds: BTreeMap<BuildId, Build>,
    /// The builds in state `Waiting`; kept by `transition`.
    queue: Queue,
}

/// Where `transition` takes a build.
enum Next {
    /// Into the queue.
    Waiting,
    /// Onto a machine.
    Running { lease: LeaseId, machine: MachineId },
    /// Out of sight: built, refused, given up or not wanted.
    Gone,
}

impl Scheduler {
    /// A scheduler without machines or builds, whose first lease is
    /// `first_lease`: greater than every lease ever given out to these
    /// machines.
    pub fn new(settings: Settings, first_lease: LeaseId) -> Self {
        Self {
            settings,
            next_lease: first_lease,
            next_turn: Turn(0),
            fleet: Fleet::default(),
            builds: BTreeMap::new(),
            queue: Queue::default(),
        }
    }

    /// Applies one event. `now` never decreases between calls.
    ///
    /// Costs as much as there are machines and kinds of waiting builds, not as
    /// there are waiting builds.
    pub fn handle(&mut self, now: Timestamp, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.apply(now, event, &mut actions);
        self.place(now, &mut actions);
        actions
    }

    /// What becomes of `build`; `None` if it neither waits nor runs.
    pub fn explain(&self, build: BuildId) -> Option<Explanation> {
        let build = self.builds.get(&build)?;
        let status = match build.state {
            State::Waiting { since } => {
                let question = Question::new(&self.fleet, &build.class);
                let machines = (self.fleet.machines())
                    .filter_map(|m| Some((m.spec.id.clone(), question.veto(m)?)))
                    .collect();
                Status::Waiting {
                    since,
                    ahead: self.queue.ahead_of(build.turn),
                    machines,
                }
            }
            State::Running { since, lease } => Status::Running {
                since,
                lease,
                machine: self.fleet.attempt(lease)?.machine.clone(),
            },
        };
        let faults = build.faults.clone();
        Some(Explanation { status, faults })
    }

    /// The machines that could make such a build, busy or away though they may
    /// be, in the order of names; or why there is none.
    pub fn could_build(&self, needs: &Needs) -> Result<Vec<MachineId>, Refusal> {
        self.fleet.could_build(needs)
    }

    /// Every machine, in the order of names.
    pub fn fleet(&self) -> impl Iterator<Item = MachineView<'_>> {
        self.fleet.machines().map(|machine| MachineView {
            spec: &machine.spec,
            presence: &machine.presence,
            drained: machine.drained,
            running: machine.running(),
        })
    }

    fn apply(&mut self, now: Timestamp, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::MachineConfigured { spec } => {
                self.fleet.configure(spec);
                self.refuse_hopeless(now, actions);
            }
            Event::MachineRemoved { machine } => {
                let leases = self.fleet.remove(&machine);
                self.lose(now, leases, &AttemptEnd::Returned, actions);
                self.refuse_hopeless(now, actions);
            }
            Event::MachineAvailable { machine } => {
                self.change(&machine, |m| m.presence = Presence::Available);
            }
            Event::MachineAway {
                machine,
                reason,
                retry_at,
            } => {
                let leases = self.fleet.leases_on(&machine);
                let end = AttemptEnd::Faulted {
                    reason: format!("lost: {reason}"),
                };
                self.change(&machine, |m| {
                    m.presence = Presence::Away { reason, retry_at }
                });
                self.lose(now, leases, &end, actions);
            }
            Event::MachineDrained { machine } => self.change(&machine, |m| m.drained = true),
            Event::MachineResumed { machine } => self.change(&machine, |m| m.drained = false),
            Event::PathsHeld { machine, paths } => self.change(&machine, |m| m.hold(paths)),
            Event::PathsForgotten { machine, paths } => {
                self.change(&machine, |m| m.forget(&paths));
            }
            Event::StoreForgotten { machine } => self.change(&machine, Machine::forget_store),
            Event::BuildRequested {
                build,
                needs,
                inputs,
            } => self.request(now, build, needs, inputs, actions),
            Event::BuildCancelled { build } => self.cancel(now, build, actions),
            Event::AttemptEnded { lease, end } => self.end(now, lease, end, actions),
        }
    }

    fn change(&mut self, machine: &MachineId, change: impl FnOnce(&mut Machine)) {
        if let Some(machine) = self.fleet.machine_mut(machine) {
            change(machine);
        }
    }

    fn request(
        &mut self,
        now: Timestamp,
        id: BuildId,
        needs: Needs,
        inputs: Vec<Input>,
        actions: &mut Vec<Action>,
    ) {
        if self.builds.contains_key(&id) {
            return;
        }
        let turn = self.next_turn;
        self.next_turn = Turn(turn.0 + 1);
        let build = Build {
            turn,
            class: Class {
                needs,
                avoid: [].into(),
            },
            inputs,
            faults: Vec::new(),
            state: State::Waiting { since: now },
        };
        self.builds.insert(id, build);
        self.wait(now, id, actions);
    }

    fn cancel(&mut self, now: Timestamp, id: BuildId, actions: &mut Vec<Action>) {
        let Some(build) = self.builds.get(&id) else {
            return;
        };
        if let Some(lease) = build.state.lease() {
            self.stop(lease, actions);
        }
        self.transition(now, id, Next::Gone);
    }

    fn end(&mut self, now: Timestamp, lease: LeaseId, end: AttemptEnd, actions: &mut Vec<Action>) {
        let wanted = self.is_wanted(lease);
        let Some(attempt) = self.fleet.end(lease).filter(|_| wanted) else {
            return;
        };
        let id = attempt.build;
        match end {
            AttemptEnd::Finished => self.transition(now, id, Next::Gone),
            AttemptEnd::Returned => self.wait(now, id, actions),
            AttemptEnd::Faulted { reason } => {
                let machine = attempt.machine;
                let fault = Fault {
                    lease,
                    machine,
                    at: now,
                    reason,
                };
                self.fault(now, id, fault, actions);
            }
        }
    }

    /// Ends attempts of which nothing more will be heard, so their slots are
    /// free at once.
    fn lose(
        &mut self,
        now: Timestamp,
        leases: Vec<LeaseId>,
        end: &AttemptEnd,
        actions: &mut Vec<Action>,
    ) {
        for lease in leases {
            if self.is_wanted(lease) {
                self.stop(lease, actions);
            }
            self.end(now, lease, end.clone(), actions);
        }
    }

    fn stop(&self, lease: LeaseId, actions: &mut Vec<Action>) {
        if let Some(attempt) = self.fleet.attempt(lease) {
            let machine = attempt.machine.clone();
            actions.push(Action::Cancel { lease, machine });
        }
    }

    /// Whether a build runs under `lease`, rather than having been cancelled.
    fn is_wanted(&self, lease: LeaseId) -> bool {
        (self.fleet.attempt(lease))
            .and_then(|attempt| self.builds.get(&attempt.build))
            .is_some_and(|build| build.state.lease() == Some(lease))
    }

    fn fault(&mut self, now: Timestamp, id: BuildId, fault: Fault, actions: &mut Vec<Action>) {
        let Some(build) = self.builds.get_mut(&id) else {
            return;
        };
        let suitable = (self.fleet.could_build(&build.class.needs)).unwrap_or_default();
        build.fault(fault, &suitable);
        if build.faults.len() >= self.settings.max_faults {
            let faults = std::mem::take(&mut build.faults);
            actions.push(Action::GiveUp { build: id, faults });
            self.transition(now, id, Next::Gone);
        } else {
            self.wait(now, id, actions);
        }
    }

    /// Lets a build wait, unless there is nothing it could wait for.
    fn wait(&mut self, now: Timestamp, id: BuildId, actions: &mut Vec<Action>) {
        let Some(build) = self.builds.get(&id) else {
            return;
        };
        match self.fleet.could_build(&build.class.needs) {
            Ok(_) => self.transition(now, id, Next::Waiting),
            Err(refusal) => self.refuse(now, id, refusal, actions),
        }
    }

    /// Refuses the waiting builds that no machine could make any more, in order.
    fn refuse_hopeless(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let mut hopeless = BTreeMap::new();
        for (class, line) in self.queue.lines() {
            if let Err(refusal) = self.fleet.could_build(&class.needs) {
                let refused = line
                    .iter()
                    .map(|(turn, id)| (*turn, (*id, refusal.clone())));
                hopeless.extend(refused);
            }
        }
        for (id, refusal) in hopeless.into_values() {
            self.refuse(now, id, refusal, actions);
        }
    }

    fn refuse(
        &mut self,
        now: Timestamp,
        build: BuildId,
        refusal: Refusal,
        actions: &mut Vec<Action>,
    ) {
        actions.push(Action::Refuse { build, refusal });
        self.transition(now, build, Next::Gone);
    }

    /// Assigns builds, in order, until none that waits has a machine.
    fn place(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        while let Some((build, machine)) = self.next_placement() {
            let lease = self.next_lease;
            self.next_lease = LeaseId(lease.0 + 1);
            actions.push(Action::Assign {
                build,
                machine: machine.clone(),
                lease,
            });
            self.transition(now, build, Next::Running { lease, machine });
        }
    }

    /// The first build in the order that some machine can make now, and the
    /// best machine for it.
    fn next_placement(&self) -> Option<(BuildId, MachineId)> {
        let free: Vec<_> = (self.fleet.machines())
            .filter(|machine| placement::is_free(machine))
            .collect();
        if free.is_empty() {
            return None;
        }
        let (_, id, candidates) = (self.queue.heads())
            .filter_map(|(class, turn, id)| {
                let question = Question::new(&self.fleet, class);
                let candidates: Vec<_> = (free.iter().copied())
                    .filter(|machine| question.veto(machine).is_none())
                    .collect();
                (!candidates.is_empty()).then_some((turn, id, candidates))
            })
            .min_by_key(|(turn, ..)| *turn)?;
        let inputs = &self.builds.get(&id)?.inputs;
        let machine = placement::choose(&candidates, inputs)?;
        Some((id, machine.spec.id.clone()))
    }

    /// The one place where a build's state changes, and with it the queue and
    /// the slots.
    fn transition(&mut self, now: Timestamp, id: BuildId, next: Next) {
        let Some(build) = self.builds.get_mut(&id) else {
            panic!("bug: transition of unknown build {id}");
        };
        if let State::Waiting { .. } = build.state {
            self.queue.remove(&build.class, build.turn);
        }
        match next {
            Next::Waiting => {
                build.state = State::Waiting { since: now };
                self.queue.insert(&build.class, build.turn, id);
            }
            Next::Running { lease, machine } => {
                build.state = State::Running { since: now, lease };
                self.fleet.start(lease, id, machine);
            }
            Next::Gone => {
                self.builds.remove(&id);
            }
        }
    }
}
