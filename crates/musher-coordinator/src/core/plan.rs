//! Requests, and what they will come to, as the core tells them to the
//! scheduler. What a request does is in `crate::request`.

use std::collections::BTreeMap;

use musher_scheduler::{
    BuildId, BuildKind, Event, Needs, OwnerId, PlannedBuild, RequestId, Subject,
};
use nix_derivation::StorePath;
use tokio::runtime;

use super::record::{BuildKey, State};
use super::{Command, Core, CoreHandle};
use crate::history::plain_name;

/// Who asks, and what that is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Who.
    pub(crate) owner: OwnerId,
    /// Each step doubles the share of the slots; 0 is the usual.
    pub(crate) priority: i8,
    /// The most attempts at once for all that the owner asks for.
    pub(crate) max_running: Option<u32>,
}

/// A derivation that a request will have built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Foreseen {
    /// Its path, as the request names it.
    pub(crate) drv: StorePath,
    /// What it needs of a machine.
    pub(crate) needs: Needs,
    /// What sort of work it is.
    pub(crate) kind: BuildKind,
    /// Those of the request's derivations that it needs first.
    pub(crate) after: Vec<StorePath>,
}

/// That a build is asked for as part of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// Which request.
    pub(crate) request: RequestId,
    /// The derivation as the request named it when it was foreseen.
    pub(crate) drv: StorePath,
}

/// An open request. Dropping it closes the request.
#[derive(Debug)]
pub(crate) struct Ticket {
    request: RequestId,
    core: CoreHandle,
}

impl Standing {
    /// What `owner` gets of whom nothing else is known.
    pub(crate) fn usual(owner: impl Into<OwnerId>) -> Self {
        Self {
            owner: owner.into(),
            priority: 0,
            max_running: None,
        }
    }
}

impl Ticket {
    /// Opens a request.
    pub(crate) async fn open(core: &CoreHandle, standing: Standing) -> Self {
        let request = core.next_request();
        core.send(Command::OpenRequest { request, standing }).await;
        let core = core.clone();
        Self { request, core }
    }

    /// Its number.
    pub(crate) fn request(&self) -> RequestId {
        self.request
    }

    /// Says what the request will come to, each after what it needs first.
    pub(crate) async fn plan(&self, builds: Vec<Foreseen>) {
        let request = self.request;
        self.core.send(Command::Plan { request, builds }).await;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let (request, core) = (self.request, self.core.clone());
        // Without a runtime the core has ended.
        if let Ok(runtime) = runtime::Handle::try_current() {
            runtime.spawn(async move { core.send(Command::CloseRequest { request }).await });
        }
    }
}

/// The builds that are planned, and not yet asked for.
#[derive(Debug, Default)]
pub(super) struct Plans {
    builds: BTreeMap<StorePath, BuildId>,
    requests: BTreeMap<RequestId, Vec<(StorePath, BuildId)>>,
    /// How many requests want each of them.
    wanted: BTreeMap<BuildId, usize>,
}

impl Plans {
    fn want(&mut self, request: RequestId, drv: StorePath, build: BuildId) {
        let of_request = self.requests.entry(request).or_default();
        of_request.push((drv, build));
        *self.wanted.entry(build).or_default() += 1;
    }

    /// Forgets what nobody else wants that is still only planned.
    fn close(&mut self, request: RequestId) {
        for (drv, build) in self.requests.remove(&request).unwrap_or_default() {
            if let Some(others) = self.wanted.get_mut(&build).filter(|wanted| **wanted > 1) {
                *others -= 1;
                continue;
            }
            self.wanted.remove(&build);
            if self.builds.get(&drv) == Some(&build) {
                self.builds.remove(&drv);
            }
        }
    }

    /// The number under which a derivation is planned, if it is.
    pub(super) fn number(&self, drv: &StorePath) -> Option<BuildId> {
        self.builds.get(drv).copied()
    }

    /// What is planned under these numbers.
    pub(super) fn named(&self, numbers: &[BuildId]) -> impl Iterator<Item = &StorePath> {
        let builds = self.builds.iter();
        builds.filter_map(|(drv, build)| numbers.contains(build).then_some(drv))
    }
}

impl Core {
    pub(super) fn open_request(&mut self, request: RequestId, standing: Standing) {
        self.tell(Event::RequestOpened {
            request,
            owner: standing.owner,
            priority: standing.priority,
            max_running: standing.max_running,
        });
    }

    pub(super) fn close_request(&mut self, request: RequestId) {
        self.plans.close(request);
        self.tell(Event::RequestClosed { request });
    }

    pub(super) fn plan(&mut self, request: RequestId, builds: Vec<Foreseen>) {
        let mut planned = Vec::new();
        let mut numbers = BTreeMap::new();
        for foreseen in builds {
            let Some(build) = self.number(&foreseen.drv) else {
                // Nothing waits for what is built.
                continue;
            };
            numbers.insert(foreseen.drv.clone(), build);
            let estimate = self.history.estimate_of(&Subject {
                name: plain_name(&foreseen.drv),
                drv: Some(&foreseen.drv),
                system: &foreseen.needs.system,
                kind: foreseen.kind,
            });
            let after = foreseen.after.iter();
            planned.push(PlannedBuild {
                build,
                needs: foreseen.needs,
                after: after.filter_map(|drv| numbers.get(drv).copied()).collect(),
                estimate,
            });
            self.plans.want(request, foreseen.drv, build);
        }
        let builds = planned;
        self.tell(Event::BuildsPlanned { request, builds });
    }

    /// The number under which a derivation is planned, or is being built; none
    /// if it is built.
    fn number(&mut self, drv: &StorePath) -> Option<BuildId> {
        if let Some(build) = self.plans.builds.get(drv) {
            return Some(*build);
        }
        let from = BuildKey::first_of(drv);
        let known = self.by_key.range(from..);
        for (key, build) in known.take_while(|(key, _)| key.is_of(drv)) {
            match self.builds.get(build).map(|record| record.state) {
                Some(State::Ended) => return None,
                Some(State::Preparing | State::Queued | State::Running { .. }) => {
                    return Some(*build);
                }
                None => debug_assert!(false, "bug: no record of {key:?}"),
            }
        }
        let build = self.new_build();
        self.plans.builds.insert(drv.clone(), build);
        Some(build)
    }

    /// The number of a build that is asked for: the one under which it was
    /// planned, if it was.
    pub(super) fn claim(&mut self, part: Option<&Part>) -> BuildId {
        let planned = part.and_then(|part| self.plans.builds.remove(&part.drv));
        planned.unwrap_or_else(|| self.new_build())
    }

    fn new_build(&mut self) -> BuildId {
        let build = BuildId(self.next_build);
        self.next_build += 1;
        build
    }

    /// Lets a build count for a request too.
    pub(super) fn join(&mut self, build: BuildId, part: Option<Part>) {
        let Some(part) = part else {
            return;
        };
        let Some(record) = self.builds.get_mut(&build) else {
            return;
        };
        if record.requests.contains(&part.request) {
            return;
        }
        record.requests.push(part.request);
        match record.state {
            // It is told then.
            State::Preparing | State::Ended => {}
            State::Queued | State::Running { .. } => self.ask_scheduler(build),
        }
    }

    /// Asks the scheduler for a build, for each request that wants it.
    pub(super) fn ask_scheduler(&mut self, build: BuildId) {
        let Some(record) = self.builds.get(&build) else {
            return;
        };
        let estimate = self.history.estimate(&record.spec);
        let (needs, inputs) = (record.spec.needs(), record.closure.inputs());
        let mut requests: Vec<_> = record.requests.iter().copied().map(Some).collect();
        if requests.is_empty() {
            requests.push(None);
        }
        for request in requests {
            self.tell(Event::BuildRequested {
                request,
                build,
                needs: needs.clone(),
                inputs: inputs.clone(),
                estimate,
            });
        }
    }
}
