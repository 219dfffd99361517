//! Requests as they come, go on and end: what becomes ready, who wants what.

use std::collections::BTreeSet;

use musher_scheduler::{BuildId, Event, Input, OwnerId, PlannedBuild, RequestId, Timestamp};

use super::build::{Build, Derivation, DerivationId, Request, RequestEnd, Standing, State};
use super::{World, index};
use crate::Decider;

/// A request before anybody heard of it.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Its number, never used before.
    pub request: RequestId,
    /// Who asks.
    pub owner: OwnerId,
    /// Beside others.
    pub priority: i8,
    /// The most attempts at once for its owner.
    pub max_running: Option<u32>,
    /// What it wants, with all of that it depends on.
    pub derivations: BTreeSet<DerivationId>,
}

impl<D: Decider> World<D> {
    /// Adds something that can be built.
    pub fn add(&mut self, derivation: Derivation) -> DerivationId {
        let id = DerivationId(self.derivations.len());
        self.derivations.push(derivation);
        id
    }

    /// Whether a derivation is built.
    pub fn is_built(&self, derivation: DerivationId) -> bool {
        self.outputs.contains(&derivation)
    }

    /// A request comes: it is planned, and what is ready of it is requested.
    pub fn ask(&mut self, asked: Asked) {
        let request = asked.request;
        self.tell(Event::RequestOpened {
            request,
            owner: asked.owner.clone(),
            priority: asked.priority,
            max_running: asked.max_running,
        });
        // Dependencies have the lower numbers, so their builds are there before
        // those that wait for them.
        let mut wanted = Vec::new();
        for derivation in asked.derivations {
            if !self.is_built(derivation) {
                wanted.push(self.want(derivation, request));
            }
        }
        let opened = Request {
            owner: asked.owner,
            arrived: self.now,
            max_running: asked.max_running,
            builds: wanted.iter().copied().collect(),
            served: self.now,
        };
        self.requests.insert(request, opened);
        let builds = wanted.iter().map(|build| self.planned(*build)).collect();
        self.tell(Event::BuildsPlanned { request, builds });
        for build in wanted {
            if self.builds[index(build)].missing == 0 {
                self.request(build, request);
            }
        }
        self.end_if_done(request);
        self.settle();
    }

    /// Whoever asked goes away.
    pub fn withdraw(&mut self, request: RequestId) {
        self.close(request, RequestEnd::Withdrawn);
        self.settle();
    }

    /// The request that has had longest what could begin without an attempt of
    /// it beginning, and since when.
    pub fn longest_unserved(&mut self) -> Option<(RequestId, Timestamp)> {
        let now = self.now;
        for request in self.requests.values_mut() {
            let could_begin = request.builds.iter().any(|id| {
                let build = &self.builds[index(*id)];
                let needs = &self.derivations[build.derivation.0].needs;
                matches!(build.state, State::Ready { .. })
                    && (self.machines.values())
                        .any(|machine| machine.is_open() && needs.lacks(&machine.spec).is_empty())
            });
            if !could_begin {
                request.served = now;
            }
        }
        (self.requests.iter())
            .map(|(id, request)| (*id, request.served))
            .min_by_key(|(_, served)| *served)
    }

    /// The build of a derivation that `request` wants from now on.
    fn want(&mut self, derivation: DerivationId, request: RequestId) -> BuildId {
        let id = match self.live.get(&derivation) {
            Some(id) => *id,
            None => self.make_build(derivation),
        };
        self.builds[index(id)].wanted_by.insert(request);
        id
    }

    fn make_build(&mut self, derivation: DerivationId) -> BuildId {
        let id = BuildId(self.builds.len() as u64);
        let mut missing = 0;
        for dep in &self.derivations[derivation.0].deps {
            if let Some(before) = self.live.get(dep) {
                self.builds[index(*before)].dependents.push(id);
                missing += 1;
            }
        }
        self.builds.push(Build {
            id,
            derivation,
            state: State::Blocked,
            wanted_by: BTreeSet::new(),
            faulted: Vec::new(),
            ready_at: self.now,
            missing,
            dependents: Vec::new(),
        });
        self.live.insert(derivation, id);
        id
    }

    fn planned(&self, id: BuildId) -> PlannedBuild {
        let derivation = &self.derivations[self.builds[index(id)].derivation.0];
        PlannedBuild {
            build: id,
            needs: derivation.needs.clone(),
            after: (derivation.deps.iter())
                .filter_map(|dep| self.live.get(dep).copied())
                .collect(),
            estimate: derivation.estimate,
        }
    }

    /// Says for one of those who want it that a build is ready.
    fn request(&mut self, id: BuildId, request: RequestId) {
        let build = &mut self.builds[index(id)];
        match build.state {
            State::Blocked => {
                build.state = State::Ready { since: self.now };
                build.ready_at = self.now;
            }
            State::Ready { .. } | State::Running(_) => {}
            State::Over => return,
        }
        let derivation = &self.derivations[build.derivation.0];
        let inputs = (derivation.deps.iter())
            .map(|dep| Input {
                path: dep.path(),
                nar_size: self.derivations[dep.0].output_bytes,
            })
            .collect();
        self.tell(Event::BuildRequested {
            request: Some(request),
            build: id,
            needs: derivation.needs.clone(),
            inputs,
            estimate: derivation.estimate,
        });
    }

    /// A build is built: what waited for it alone is ready.
    pub(super) fn complete(&mut self, id: BuildId) {
        let build = &mut self.builds[index(id)];
        let dependents = std::mem::take(&mut build.dependents);
        let wanted_by = build.wanted_by.clone();
        self.outputs.insert(build.derivation);
        self.live.remove(&build.derivation);
        for dependent in dependents {
            let build = &mut self.builds[index(dependent)];
            build.missing -= 1;
            if build.missing == 0 {
                for request in build.wanted_by.clone() {
                    self.request(dependent, request);
                }
            }
        }
        for request in wanted_by {
            if let Some(open) = self.requests.get_mut(&request) {
                open.builds.remove(&id);
            }
            self.end_if_done(request);
        }
    }

    fn end_if_done(&mut self, request: RequestId) {
        let open = self.requests.get(&request);
        if open.is_some_and(|open| open.builds.is_empty()) {
            self.close(request, RequestEnd::Built);
        }
    }

    /// Ends a request, and with it the builds that nobody else wants.
    pub(super) fn close(&mut self, request: RequestId, end: RequestEnd) {
        let Some(open) = self.requests.remove(&request) else {
            return;
        };
        self.ended.insert(request, (end, self.now));
        // A blocked build is forgotten by the end of the last request that
        // planned it; of the others the decider must be told.
        let mut unwanted = Vec::new();
        for id in open.builds {
            let build = &mut self.builds[index(id)];
            build.wanted_by.remove(&request);
            if build.wanted_by.is_empty() {
                self.live.remove(&build.derivation);
                match build.state {
                    State::Blocked => build.state = State::Over,
                    State::Ready { .. } | State::Running(_) => unwanted.push(id),
                    State::Over => {}
                }
            }
        }
        self.tell(Event::RequestClosed { request });
        for build in unwanted {
            self.give_away(build);
        }
    }

    /// Nobody wants a build any more that waits for a machine or is on one.
    fn give_away(&mut self, id: BuildId) {
        let build = &mut self.builds[index(id)];
        if let State::Running(lease) = build.state
            && let Some(attempt) = self.attempts.get_mut(&lease)
        {
            attempt.standing = Standing::Unwanted;
            self.pointless.insert(lease);
        }
        build.state = State::Over;
        self.tell(Event::BuildCancelled { build: id });
    }
}
