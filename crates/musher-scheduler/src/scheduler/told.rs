//! What each event changes.

use std::collections::{BTreeMap, BTreeSet};

use super::{Next, Scheduler};
use crate::build::{Class, State};
use crate::graph::NewBuild;
use crate::rank::millis;
use crate::request::Asker;
use crate::{
    Action, AttemptEnd, BuildId, Estimate, Event, Fault, Input, LeaseId, Needs, PlannedBuild,
    Presence, RequestId, Timestamp,
};

/// A build that is ready.
struct Ready {
    request: Option<RequestId>,
    build: BuildId,
    needs: Needs,
    inputs: Vec<Input>,
    estimate: Estimate,
}

impl Scheduler {
    pub(super) fn apply(&mut self, now: Timestamp, event: Event, actions: &mut Vec<Action>) {
        self.expire(now);
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
                (self.fleet).change(&machine, |m| m.presence = Presence::Available);
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
                self.fleet.change(&machine, |m| {
                    m.presence = Presence::Away { reason, retry_at };
                });
                self.lose(now, leases, &end, actions);
            }
            Event::MachineDrained { machine } => {
                self.fleet.change(&machine, |m| m.drained = true);
            }
            Event::MachineResumed { machine } => {
                self.fleet.change(&machine, |m| m.drained = false);
            }
            Event::PathsHeld { machine, paths } => self.fleet.hold(&machine, &paths),
            Event::PathsForgotten { machine, paths } => self.fleet.forget(&machine, &paths),
            Event::StoreForgotten { machine } => self.fleet.forget_store(&machine),
            Event::LinkMeasured {
                machine,
                bytes_per_second,
            } => self.fleet.measure_link(&machine, bytes_per_second),
            Event::SpeedMeasured { machine, factor } => self.fleet.measure_speed(&machine, factor),
            Event::RequestOpened {
                request,
                owner,
                priority,
                max_running,
            } => {
                self.requests.open(request, owner, priority, max_running);
                self.reshare(Asker::Request(request));
            }
            Event::RequestClosed { request } => self.close(now, request),
            Event::BuildsPlanned { request, builds } => self.plan(now, request, builds),
            Event::BuildRequested {
                request,
                build,
                needs,
                inputs,
                estimate,
            } => {
                let ready = Ready {
                    request: request.filter(|id| self.requests.get(*id).is_some()),
                    build,
                    needs,
                    inputs,
                    estimate,
                };
                self.request(now, ready, actions);
            }
            Event::BuildCancelled { build } => self.cancel(now, build, actions),
            Event::AttemptEnded { lease, end } => self.end(now, lease, end, actions),
            Event::TimePassed => {}
        }
    }

    fn plan(&mut self, now: Timestamp, request: RequestId, builds: Vec<PlannedBuild>) {
        if self.requests.get(request).is_none() {
            return;
        }
        let mut new = Vec::new();
        let mut joined = Vec::new();
        let mut named = BTreeSet::new();
        for planned in builds {
            let id = planned.build;
            if !named.insert(id) {
                continue;
            }
            let known = self
                .graph
                .get(id)
                .map(|known| (known.class, known.estimate));
            let (class, estimate) = known.unwrap_or_else(|| {
                let class = self.classes.acquire(Class::of(planned.needs));
                (class, planned.estimate)
            });
            if known.is_some() {
                self.leave_alone(id);
                joined.push(id);
            }
            (self.requests).add(request, id, millis(estimate.seconds));
            new.push(NewBuild {
                build: id,
                class,
                estimate,
                after: planned.after,
            });
        }
        let reranked = self.graph.plan(Some(request), new);
        for id in joined {
            self.join(now, id, request);
        }
        self.requeue(now, &reranked);
        self.reshare(Asker::Request(request));
    }

    /// Takes a build out of the line that it has to itself.
    fn leave_alone(&mut self, id: BuildId) {
        if (self.graph.get(id)).is_some_and(|build| build.requests.is_empty()) {
            self.leave_queue(id);
        }
    }

    /// `request` came to want a build that was known.
    fn join(&mut self, now: Timestamp, id: BuildId, request: RequestId) {
        match self.graph.get(id).map(|build| build.state) {
            Some(State::Imminent | State::Waiting { .. }) => self.enter_queue(now, id),
            Some(State::Running { lease, .. }) => {
                let asker = Asker::Request(request);
                if self.fleet.count_for(lease, asker) {
                    self.requests.started(asker);
                }
            }
            Some(State::Planned) | None => {}
        }
    }

    fn close(&mut self, now: Timestamp, id: RequestId) {
        let wanted = self.requests.get(id).map(|request| request.builds.clone());
        let mut unwanted = Vec::new();
        for build in wanted.into_iter().flatten() {
            let Some(found) = self.graph.get_mut(build) else {
                continue;
            };
            let place = found.place(build);
            (self.queue).remove(found.class, Asker::Request(id), &place);
            found.requests.retain(|request| *request != id);
            match found.state {
                State::Planned | State::Imminent if found.requests.is_empty() => {
                    unwanted.push(build);
                }
                // It may be a request of its own now.
                State::Waiting { .. } => self.enter_queue(now, build),
                State::Planned | State::Imminent | State::Running { .. } => {}
            }
        }
        if let Some(request) = self.requests.close(id) {
            (self.requests.of(&request.owner).into_iter()).for_each(|asker| self.reshare(asker));
        }
        self.forget(now, unwanted);
    }

    fn request(&mut self, now: Timestamp, ready: Ready, actions: &mut Vec<Action>) {
        let id = ready.build;
        let is_known = self.graph.get(id).is_some();
        if let Some(request) = ready.request {
            let planned = PlannedBuild {
                build: id,
                needs: ready.needs.clone(),
                after: Vec::new(),
                estimate: ready.estimate,
            };
            self.plan(now, request, vec![planned]);
        } else if !is_known {
            let new = NewBuild {
                build: id,
                class: self.classes.acquire(Class::of(ready.needs.clone())),
                estimate: ready.estimate,
                after: Vec::new(),
            };
            self.graph.plan(None, vec![new]);
        }
        self.settle(id);
        let Some(build) = self.graph.get_mut(id) else {
            return;
        };
        if build.state != State::Planned {
            return;
        }
        build.inputs = self.fleet.paths.read(ready.inputs);
        let class = self.classes.acquire(Class::of(ready.needs));
        let before = std::mem::replace(&mut build.class, class);
        self.classes.release(before);
        self.estimate(now, id, ready.estimate);
        self.wait(now, id, actions);
    }

    /// Takes note of what a build is expected to cost.
    fn estimate(&mut self, now: Timestamp, id: BuildId, estimate: Estimate) {
        let Some(build) = self.graph.get(id) else {
            return;
        };
        if build.estimate == estimate {
            return;
        }
        let before = millis(build.estimate.seconds);
        for request in build.requests.clone() {
            self.requests.remove(request, id, before);
            (self.requests).add(request, id, millis(estimate.seconds));
        }
        let reranked = self.graph.estimate(id, estimate);
        self.requeue(now, &reranked);
    }

    fn cancel(&mut self, now: Timestamp, id: BuildId, actions: &mut Vec<Action>) {
        let Some(build) = self.graph.get(id) else {
            return;
        };
        if let Some(lease) = build.state.lease() {
            self.stop(lease, actions);
        }
        self.transition(now, id, Next::Gone);
    }

    fn end(&mut self, now: Timestamp, lease: LeaseId, end: AttemptEnd, actions: &mut Vec<Action>) {
        let wanted = self.is_wanted(lease);
        let Some(attempt) = self.fleet.end(lease) else {
            return;
        };
        for asker in attempt.askers {
            self.requests.ended(asker);
            self.reshare(asker);
        }
        if !wanted {
            return;
        }
        let id = attempt.build;
        match end {
            AttemptEnd::Finished => {
                let unblocked = self.forget(now, [id]);
                self.await_requests(now, unblocked, &attempt.machine);
            }
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

    /// Whether a build runs under `lease`, rather than having been cancelled.
    fn is_wanted(&self, lease: LeaseId) -> bool {
        (self.fleet.attempt(lease))
            .and_then(|attempt| self.graph.get(attempt.build))
            .is_some_and(|build| build.state.lease() == Some(lease))
    }

    /// Refuses the waiting builds that no machine could make any more, in order.
    fn refuse_hopeless(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let mut hopeless = BTreeMap::new();
        for class in self.queue.classes() {
            if let Err(refusal) = (self.fleet).could_build(&self.classes.get(class).needs) {
                for place in self.queue.of_class(class) {
                    let turn = self.graph.get(place.build).map(|build| build.turn);
                    hopeless.insert(turn, (place.build, refusal.clone()));
                }
            }
        }
        for (id, refusal) in hopeless.into_values() {
            self.refuse(now, id, refusal, actions);
        }
    }
}
