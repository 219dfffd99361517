//! The state machine: every build, what became of it, and what to do next.
//! Knows neither how a machine is chosen (`placement`) nor how the queue is
//! kept (`queue`).

mod decide;
mod imminent;
mod outlook;
mod told;

use std::collections::{BTreeMap, BTreeSet};

use crate::build::{Build, State};
use crate::choice::Placement;
use crate::classes::Classes;
use crate::explain::{Explanation, MachineView, Status, WhyNot};
use crate::fleet::{Attempt, Fleet};
use crate::graph::{Graph, Reranked};
use crate::placement::Question;
use crate::queue::Queue;
use crate::rank::{Place, millis};
use crate::request::{Asker, Requests};
use crate::{
    Action, BuildId, Event, Fault, LeaseId, MachineId, Needs, OwnerId, Refusal, Timestamp,
};

use decide::Deferral;
use imminent::Imminence;

/// How many builds that go first are counted in an explanation.
const AHEAD_COUNTED: usize = 100;

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
    fleet: Fleet,
    graph: Graph,
    classes: Classes,
    requests: Requests,
    /// The builds in state `Waiting`; kept by `transition`.
    queue: Queue,
    /// The builds that wait for a better slot than those that are free.
    deferred: BTreeMap<BuildId, Deferral>,
    /// The builds in state `Imminent`.
    imminent: BTreeMap<BuildId, Imminence>,
}

/// Where `transition` takes a build.
enum Next {
    /// Into the queue.
    Waiting,
    /// Onto a machine.
    Running { lease: LeaseId, attempt: Attempt },
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
            fleet: Fleet::default(),
            graph: Graph::default(),
            classes: Classes::default(),
            requests: Requests::default(),
            queue: Queue::default(),
            deferred: BTreeMap::new(),
            imminent: BTreeMap::new(),
        }
    }

    /// Applies one event. `now` never decreases between calls.
    ///
    /// Costs as much as there are kinds of machines and of waiting builds, not
    /// as there are machines, waiting builds, or builds that are over.
    pub fn handle(&mut self, now: Timestamp, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.apply(now, event, &mut actions);
        self.place(now, &mut actions);
        actions
    }

    /// When to come back with [`Event::TimePassed`], if nothing else happens
    /// before: a slot should be free by then that a build waits for, or a build
    /// requested that a slot is kept for.
    pub fn review_at(&self) -> Option<Timestamp> {
        let deferred = self.deferred.values().map(|deferral| deferral.until);
        let imminent = self.imminent.values().map(|imminence| imminence.until);
        deferred.chain(imminent).min()
    }

    /// What becomes of `build`; `None` if it is not known, or over.
    pub fn explain(&self, id: BuildId) -> Option<Explanation> {
        let build = self.graph.get(id)?;
        let status = match build.state {
            State::Planned | State::Imminent => Status::Planned {
                after: build.after.len(),
            },
            State::Waiting { since } => {
                let class = self.classes.get(build.class);
                let question = Question::new(&self.fleet, class, build);
                let machines = (self.fleet.machines()).map(|machine| {
                    let why = question.veto(machine);
                    let why = why.unwrap_or_else(|| self.why_not_free(id));
                    (machine.spec.id.clone(), why)
                });
                let step = |asker| self.requests.step(asker);
                let order = (self.queue).walk(Timestamp::from_millis(0), [build.class], step);
                let ahead = order.take(AHEAD_COUNTED);
                let ahead = ahead.take_while(|(_, _, place)| place.build != id);
                let limits = build.askers(id).map(|asker| self.requests.limit(asker));
                let limit = limits.reduce(Option::and).flatten();
                Status::Waiting {
                    since,
                    ahead: ahead.count(),
                    limit: limit.map(|(owner, limit)| (owner.clone(), limit)),
                    machines: machines.collect(),
                }
            }
            State::Running { since, lease } => {
                let attempt = self.fleet.attempt(lease)?;
                Status::Running {
                    since,
                    lease,
                    machine: attempt.machine.clone(),
                    expected_end: attempt.ends,
                }
            }
        };
        Some(Explanation {
            status,
            estimate: build.estimate,
            rank_seconds: build.rank.seconds(),
            owners: self.owners(build),
            faults: build.faults.clone(),
        })
    }

    fn owners(&self, build: &Build) -> Vec<OwnerId> {
        let requests = build.requests.iter();
        let owners = requests.filter_map(|id| Some(self.requests.get(*id)?.owner.clone()));
        let distinct: BTreeSet<_> = owners.collect();
        distinct.into_iter().collect()
    }

    /// Why a build is not on a machine that could make it now.
    fn why_not_free(&self, build: BuildId) -> WhyNot {
        match self.deferred.get(&build) {
            Some(deferral) => WhyNot::Slower {
                awaited: deferral.machine.clone(),
                free_at: deferral.free_at,
            },
            None => WhyNot::OthersFirst,
        }
    }

    /// What comes before a build that is planned, as far as it is not over.
    pub fn comes_after(&self, build: BuildId) -> &[BuildId] {
        (self.graph.get(build)).map_or(&[], |build| build.after.as_slice())
    }

    /// Why the attempt under `lease` is where it is, unless it has ended.
    pub fn placement(&self, lease: LeaseId) -> Option<&Placement> {
        self.fleet.attempt(lease).map(|attempt| &attempt.placement)
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
            speed: machine.speed(),
        })
    }

    /// Lets a build wait, unless there is nothing it could wait for.
    fn wait(&mut self, now: Timestamp, id: BuildId, actions: &mut Vec<Action>) {
        let Some(build) = self.graph.get(id) else {
            return;
        };
        match (self.fleet).could_build(&self.classes.get(build.class).needs) {
            Ok(_) => self.transition(now, id, Next::Waiting),
            Err(refusal) => self.refuse(now, id, refusal, actions),
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

    fn stop(&self, lease: LeaseId, actions: &mut Vec<Action>) {
        if let Some(attempt) = self.fleet.attempt(lease) {
            let machine = attempt.machine.clone();
            actions.push(Action::Cancel { lease, machine });
        }
    }

    fn fault(&mut self, now: Timestamp, id: BuildId, fault: Fault, actions: &mut Vec<Action>) {
        let Some(build) = self.graph.get_mut(id) else {
            return;
        };
        let machine = fault.machine.clone();
        build.faults.push(fault);
        if build.faults.len() >= self.settings.max_faults {
            let faults = std::mem::take(&mut build.faults);
            actions.push(Action::GiveUp { build: id, faults });
            self.transition(now, id, Next::Gone);
            return;
        }
        let class = self.classes.get(build.class);
        let suitable = self.fleet.could_build(&class.needs).unwrap_or_default();
        let avoiding = class.clone().avoiding(machine, &suitable);
        let before = std::mem::replace(&mut build.class, self.classes.acquire(avoiding));
        self.classes.release(before);
        self.wait(now, id, actions);
    }

    /// The one place where a build's state changes, and with it the queue and
    /// the slots.
    fn transition(&mut self, now: Timestamp, id: BuildId, next: Next) {
        self.leave_queue(id);
        match next {
            Next::Waiting => {
                self.set_state(id, State::Waiting { since: now });
                self.enter_queue(now, id);
            }
            Next::Running { lease, attempt } => {
                self.set_state(id, State::Running { since: now, lease });
                for asker in attempt.askers.clone() {
                    self.requests.started(asker);
                    self.reshare(asker);
                }
                self.fleet.start(lease, attempt);
            }
            Next::Gone => {
                self.forget(now, [id]);
            }
        }
    }

    fn set_state(&mut self, id: BuildId, state: State) {
        match self.graph.get_mut(id) {
            Some(build) => build.state = state,
            None => panic!("bug: transition of unknown build {id}"),
        }
    }

    /// Forgets builds that are in no line; what needs nothing else than these.
    fn forget(
        &mut self,
        now: Timestamp,
        builds: impl IntoIterator<Item = BuildId>,
    ) -> Vec<BuildId> {
        let builds: BTreeSet<_> = builds.into_iter().collect();
        for id in &builds {
            if let Some(build) = self.graph.get_mut(*id) {
                self.classes.release(build.class);
                self.fleet.paths.unread(std::mem::take(&mut build.inputs));
                let work = millis(build.estimate.seconds);
                for request in build.requests.clone() {
                    self.requests.remove(request, *id, work);
                    self.reshare(Asker::Request(request));
                }
            }
        }
        for id in &builds {
            self.imminent.remove(id);
        }
        let removed = self.graph.remove(&builds);
        self.requeue(now, &removed.reranked);
        removed.unblocked
    }

    /// Puts a build that is to be queued into the lines of all who ask for it, unless it
    /// is there already.
    fn enter_queue(&mut self, now: Timestamp, id: BuildId) {
        if let Some(build) = self.graph.get(id)
            && build.state.is_queued()
        {
            for asker in build.askers(id) {
                let share = self.requests.share(asker);
                let until = now + self.requests.patience(asker);
                (self.queue).insert(build.class, asker, build.place(id), share, until);
            }
        }
    }

    fn leave_queue(&mut self, id: BuildId) {
        if let Some(build) = self.graph.get(id)
            && build.state.is_queued()
        {
            for asker in build.askers(id) {
                self.queue.remove(build.class, asker, &build.place(id));
            }
        }
    }

    /// Puts waiting builds where they belong by their new ranks.
    fn requeue(&mut self, now: Timestamp, reranked: &[Reranked]) {
        for Reranked { build: id, before } in reranked {
            // First in, then out: an asker that leaves the line would begin to
            // wait anew.
            self.enter_queue(now, *id);
            if let Some(build) = self.graph.get(*id) {
                let place = Place::new(*before, build.turn, *id);
                for asker in build.askers(*id) {
                    self.queue.remove(build.class, asker, &place);
                }
            }
        }
    }

    /// Lets the queue know what share `asker` has, and those tied to it.
    fn reshare(&mut self, asker: Asker) {
        for asker in self.requests.tied(asker) {
            self.queue.share(asker, self.requests.share(asker));
        }
    }
}
