//! Machines, links, builds and requests on a virtual clock, and in the
//! coordinator's place: it tells a decider what happens, and does what the
//! decider says. Whatever the decider must not do is found here as soon as it
//! does it. Knows nothing of where the happenings come from.

mod agenda;
mod breach;
mod build;
mod machine;
mod machines;
mod requests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use musher_scheduler::{
    Action, AttemptEnd, BuildId, Event, LeaseId, MachineId, RequestId, Settings, Timestamp,
};

use self::agenda::{Agenda, Happening};
pub use self::breach::Breach;
pub use self::build::{
    Attempt, Build, Built, Derivation, DerivationId, Request, RequestEnd, Standing, State,
};
use self::build::{End, Ended};
pub use self::machine::Machine;
pub use self::requests::Asked;
use crate::Decider;

/// How long a cancelled attempt takes to stop.
const STOPPING: Duration = Duration::from_millis(500);

/// How many leases that are over are remembered, for late reports of them.
const REMEMBERED: usize = 64;

/// Everything there is.
#[derive(Debug)]
pub struct World<D> {
    decider: D,
    now: Timestamp,
    /// How long after an attempt's end the coordinator hears of it.
    report_delay: Duration,
    agenda: Agenda,
    derivations: Vec<Derivation>,
    /// The derivations that are built.
    outputs: BTreeSet<DerivationId>,
    builds: Vec<Build>,
    /// The build that is wanted of a derivation, if one is.
    live: BTreeMap<DerivationId, BuildId>,
    requests: BTreeMap<RequestId, Request>,
    ended: Ended,
    machines: BTreeMap<MachineId, Machine>,
    attempts: BTreeMap<LeaseId, Attempt>,
    newest_lease: LeaseId,
    /// Attempts that the decider has yet to cancel.
    pointless: BTreeSet<LeaseId>,
    /// Builds that came to nothing, whose requests are yet to be ended.
    hopeless: Vec<BuildId>,
    /// The newest leases that are over.
    over: VecDeque<LeaseId>,
    built: Vec<Built>,
    breaches: Vec<Breach>,
}

impl<D: Decider> World<D> {
    /// A world with nothing in it.
    pub fn new(decider: D, report_delay: Duration) -> Self {
        Self {
            decider,
            now: Timestamp::from_millis(0),
            report_delay,
            agenda: Agenda::default(),
            derivations: Vec::new(),
            outputs: BTreeSet::new(),
            builds: Vec::new(),
            live: BTreeMap::new(),
            requests: BTreeMap::new(),
            ended: Ended::new(),
            machines: BTreeMap::new(),
            attempts: BTreeMap::new(),
            newest_lease: LeaseId(0),
            pointless: BTreeSet::new(),
            hopeless: Vec::new(),
            over: VecDeque::new(),
            built: Vec::new(),
            breaches: Vec::new(),
        }
    }

    /// Who decides.
    pub fn decider(&self) -> &D {
        &self.decider
    }

    /// Gives back who decides.
    pub fn into_decider(self) -> D {
        self.decider
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// What was done wrong so far.
    pub fn breaches(&self) -> &[Breach] {
        &self.breaches
    }

    /// Every build there ever was, by its number.
    pub fn builds(&self) -> &[Build] {
        &self.builds
    }

    /// A build, if there ever was one of that number.
    pub fn build(&self, id: BuildId) -> Option<&Build> {
        self.builds.get(index(id))
    }

    /// The builds that somebody wants and that are not built.
    pub fn live_builds(&self) -> impl Iterator<Item = BuildId> {
        self.live.values().copied()
    }

    /// What a derivation is.
    pub fn derivation(&self, id: DerivationId) -> &Derivation {
        &self.derivations[id.0]
    }

    /// The requests that are not over.
    pub fn requests(&self) -> &BTreeMap<RequestId, Request> {
        &self.requests
    }

    /// How a request that is over ended, and when.
    pub fn end_of(&self, request: RequestId) -> Option<(RequestEnd, Timestamp)> {
        self.ended.get(&request).copied()
    }

    /// The machines that are configured.
    pub fn machines(&self) -> &BTreeMap<MachineId, Machine> {
        &self.machines
    }

    /// The attempts that are not over.
    pub fn attempts(&self) -> &BTreeMap<LeaseId, Attempt> {
        &self.attempts
    }

    /// The newest leases that are over.
    pub fn over(&self) -> impl Iterator<Item = LeaseId> {
        self.over.iter().copied()
    }

    /// Every attempt that built something, as they ended.
    pub fn built(&self) -> &[Built] {
        &self.built
    }

    /// When something happens by itself next, the decider looking again
    /// included.
    pub fn next_at(&self) -> Option<Timestamp> {
        let review_at = self.decider.review_at().map(|at| at.max(self.now));
        self.agenda.next_at().into_iter().chain(review_at).min()
    }

    /// Lets time pass without anything happening; not beyond [`Self::next_at`].
    pub fn wait_until(&mut self, at: Timestamp) {
        self.now = self.now.max(at);
    }

    /// Lets the next thing happen.
    pub fn step(&mut self) {
        let next = self.next_at();
        // What happens at the same time goes before looking again.
        if next < self.agenda.next_at() || self.agenda.next_at().is_none() {
            return self.review(next);
        }
        let Some((at, happening)) = self.agenda.take() else {
            return;
        };
        self.now = self.now.max(at);
        match happening {
            Happening::Begins(lease) => self.begin(lease),
            Happening::Ends(lease) => self.end(lease),
            Happening::IsReported(lease) => self.report(lease),
        }
        self.settle();
    }

    /// Lets the decider look again, if it wanted to at this time.
    fn review(&mut self, at: Option<Timestamp>) {
        let Some(at) = at else {
            return;
        };
        self.now = self.now.max(at);
        self.tell(Event::TimePassed);
        self.settle();
        if self.decider.review_at().is_some_and(|again| again <= at) {
            self.breaches.push(Breach::Restless { at });
        }
    }

    /// Lets an attempt end before its time: a fault of the machine, or handed
    /// back.
    pub fn interrupt(&mut self, lease: LeaseId, end: AttemptEnd) {
        self.cut_short(lease, End::Interrupted(end), Duration::ZERO);
    }

    /// Lets the build program of an attempt fail.
    pub fn fail(&mut self, lease: LeaseId) {
        self.cut_short(lease, End::Failed, Duration::ZERO);
    }

    /// Reports an attempt again that was over long ago.
    pub fn report_late(&mut self, lease: LeaseId, end: AttemptEnd) {
        self.tell(Event::AttemptEnded { lease, end });
        self.settle();
    }

    fn cut_short(&mut self, lease: LeaseId, end: End, after: Duration) {
        let Some(attempt) = self.attempts.get_mut(&lease) else {
            return;
        };
        self.agenda.strike(attempt.next);
        attempt.end = end;
        attempt.ended_at = self.now + after;
        attempt.next = self.agenda.put(attempt.ended_at, Happening::Ends(lease));
    }

    fn begin(&mut self, lease: LeaseId) {
        let Some(attempt) = self.attempts.get_mut(&lease) else {
            return;
        };
        attempt.next = self.agenda.put(attempt.ended_at, Happening::Ends(lease));
        let paths = attempt.fetched.iter().map(|output| output.path()).collect();
        let machine = attempt.machine.clone();
        if !attempt.fetched.is_empty() {
            self.tell(Event::PathsHeld { machine, paths });
        }
    }

    fn end(&mut self, lease: LeaseId) {
        let Some(attempt) = self.attempts.get_mut(&lease) else {
            return;
        };
        if attempt.end == End::Built
            && let Some(machine) = self.machines.get_mut(&attempt.machine)
        {
            machine.make(self.now, self.builds[index(attempt.build)].derivation);
        }
        if self.report_delay.is_zero() {
            self.report(lease);
        } else {
            let at = self.now + self.report_delay;
            attempt.next = self.agenda.put(at, Happening::IsReported(lease));
        }
    }

    /// The coordinator hears that an attempt is over.
    fn report(&mut self, lease: LeaseId) {
        let Some(attempt) = self.attempts.remove(&lease) else {
            return;
        };
        self.forget(lease);
        if let Some(machine) = self.machines.get_mut(&attempt.machine) {
            machine.taken -= 1;
        }
        let end = match &attempt.end {
            End::Built | End::Failed => AttemptEnd::Finished,
            End::Interrupted(end) => end.clone(),
        };
        let ended = Event::AttemptEnded { lease, end };
        if attempt.standing != Standing::Good {
            return self.tell(ended);
        }
        let build = &mut self.builds[index(attempt.build)];
        match attempt.end {
            End::Built => {
                build.state = State::Over;
                self.arrive(&attempt, ended);
            }
            End::Failed => {
                build.state = State::Over;
                self.hopeless.push(attempt.build);
                self.tell(ended);
            }
            End::Interrupted(end) => {
                build.state = State::Ready { since: self.now };
                if let AttemptEnd::Faulted { .. } = end {
                    build.faulted.push(attempt.machine);
                }
                self.tell(ended);
            }
        }
    }

    /// An attempt's outputs are there, and whoever waited for them is told.
    fn arrive(&mut self, attempt: &Attempt, ended: Event) {
        let build = &self.builds[index(attempt.build)];
        let derivation = build.derivation;
        self.built.push(Built {
            derivation,
            machine: attempt.machine.clone(),
            ready_at: build.ready_at,
            assigned_at: attempt.assigned_at,
            begun_at: attempt.begun_at,
            ended_at: attempt.ended_at,
        });
        self.tell(Event::PathsHeld {
            machine: attempt.machine.clone(),
            paths: vec![derivation.path()],
        });
        self.tell(ended);
        self.complete(attempt.build);
    }

    /// Ends what the decider gave up, and looks whether it cancelled what it
    /// had to.
    fn settle(&mut self) {
        while let Some(build) = self.hopeless.pop() {
            let wanted_by = self.builds[index(build)].wanted_by.clone();
            for request in wanted_by {
                self.close(request, RequestEnd::Failed);
            }
        }
        for lease in std::mem::take(&mut self.pointless) {
            let is = match self.attempts.get(&lease) {
                Some(_) => "not wanted any more",
                None => "on a machine that is gone",
            };
            self.breaches.push(Breach::NotCancelled { lease, is });
        }
    }

    fn tell(&mut self, event: Event) {
        for action in self.decider.handle(self.now, event) {
            if let Err(breach) = self.carry_out(action) {
                self.breaches.push(breach);
            }
        }
    }

    fn carry_out(&mut self, action: Action) -> Result<(), Breach> {
        match action {
            Action::Assign {
                build,
                machine,
                lease,
            } => self.assign(build, &machine, lease),
            Action::Cancel { lease, .. } => self.cancel(lease),
            Action::Refuse { build, .. } => self.refuse(build),
            Action::GiveUp { build, .. } => self.give_up(build),
        }
    }

    fn assign(&mut self, id: BuildId, to: &MachineId, lease: LeaseId) -> Result<(), Breach> {
        if lease <= self.newest_lease {
            let newest = self.newest_lease;
            return Err(Breach::OldLease { lease, newest });
        }
        self.newest_lease = lease;
        let build = self.builds.get_mut(index(id));
        let Some(build) = build.filter(|build| matches!(build.state, State::Ready { .. })) else {
            let is = (self.builds.get(index(id))).map_or("is not known".to_owned(), Build::truth);
            return Err(Breach::NotWaiting {
                build: id,
                lease,
                is,
            });
        };
        let derivation = &self.derivations[build.derivation.0];
        let machine = self.machines.get_mut(to);
        let machine = machine.ok_or("is not known").and_then(|machine| match () {
            () if !machine.is_open() => Err("is away or drained"),
            () if machine.taken >= machine.spec.slots => Err("has all its slots taken"),
            () if !derivation.needs.lacks(&machine.spec).is_empty() => Err("could never build it"),
            () => Ok(machine),
        });
        let machine = machine.map_err(|is| Breach::Closed {
            build: id,
            machine: to.clone(),
            is,
        })?;
        machine.taken += 1;
        let mut ready_at = self.now.as_millis() as f64;
        let mut fetched = Vec::new();
        for dep in &derivation.deps {
            let bytes = self.derivations[dep.0].output_bytes;
            let (there, begun) = machine.fetch(self.now, *dep, bytes);
            ready_at = ready_at.max(there);
            if begun {
                fetched.push(*dep);
            }
        }
        let begun_at = Timestamp::from_millis(whole_millis(ready_at));
        let seconds = derivation.seconds / machine.spec.speed_factor.value();
        let ended_at = begun_at + Duration::from_millis(whole_millis(seconds * 1e3));
        let attempt = Attempt {
            build: id,
            machine: to.clone(),
            standing: Standing::Good,
            assigned_at: self.now,
            begun_at,
            ended_at,
            fetched,
            end: End::Built,
            next: self.agenda.put(begun_at, Happening::Begins(lease)),
        };
        build.state = State::Running(lease);
        for request in &build.wanted_by {
            if let Some(request) = self.requests.get_mut(request) {
                request.served = self.now;
            }
        }
        self.attempts.insert(lease, attempt);
        Ok(())
    }

    fn cancel(&mut self, lease: LeaseId) -> Result<(), Breach> {
        if !self.pointless.remove(&lease) {
            return Err(Breach::NeedlessCancel { lease });
        }
        self.cut_short(lease, End::Interrupted(AttemptEnd::Returned), STOPPING);
        Ok(())
    }

    fn refuse(&mut self, id: BuildId) -> Result<(), Breach> {
        let build = &mut self.builds[index(id)];
        let needs = &self.derivations[build.derivation.0].needs;
        let though = match build.state {
            State::Ready { .. } | State::Blocked => (self.machines.values())
                .any(|machine| needs.lacks(&machine.spec).is_empty())
                .then_some("a machine could make it"),
            State::Running(_) | State::Over => Some("it does not wait"),
        };
        build.state = State::Over;
        self.hopeless.push(id);
        match though {
            Some(though) => Err(Breach::NeedlessRefusal { build: id, though }),
            None => Ok(()),
        }
    }

    fn give_up(&mut self, id: BuildId) -> Result<(), Breach> {
        let build = &mut self.builds[index(id)];
        let faults = build.faulted.len();
        build.state = State::Over;
        self.hopeless.push(id);
        match faults >= Settings::default().max_faults {
            true => Ok(()),
            false => Err(Breach::EarlyGivingUp { build: id, faults }),
        }
    }

    fn forget(&mut self, lease: LeaseId) {
        self.over.push_back(lease);
        if self.over.len() > REMEMBERED {
            self.over.pop_front();
        }
    }
}

/// Where a build stands in the list of builds.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a number beyond every list is in none"
)]
fn index(build: BuildId) -> usize {
    build.0 as usize
}

/// The first whole millisecond not before `millis`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not negative; what is beyond the last instant is never"
)]
fn whole_millis(millis: f64) -> u64 {
    // A sum of fractions that should be whole may be a hair above.
    (millis - 1e-6).ceil() as u64
}
