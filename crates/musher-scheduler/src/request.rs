//! Who wants builds, and what share of the slots that gives them. Knows neither
//! builds nor machines.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::{BuildId, OwnerId, RequestId};

/// Whose share of the slots a build counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Asker {
    /// A request's.
    Request(RequestId),
    /// Its own: it belongs to no request.
    Alone(BuildId),
}

/// How much an asker has of the slots for what it is worth: the lower, the
/// sooner it gets the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Share(pub(crate) u64);

impl Share {
    /// Before everybody: it waited too long.
    pub(crate) const FIRST: Self = Self(0);
    /// It may have no more.
    pub(crate) const NONE: Self = Self(u64::MAX);
}

/// The bit that one attempt of an asker of the usual priority counts as.
const UNIT: i32 = 20;
/// Priorities beyond it, either way, count as this.
const PRIORITY: i8 = 10;
/// How many builds are few: with so few left, and little to do, a request is
/// somebody who waits at a terminal.
const FEW: usize = 16;
/// What is little to do, in milliseconds on a machine of speed factor 1.
const LITTLE: u64 = 300_000;
/// How many priorities the requests of people at terminals gain.
const LANE: i32 = 2;
/// How long an asker of the usual priority may wait for its next slot while
/// others get theirs.
const PATIENCE: Duration = Duration::from_secs(60);

/// One request.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) owner: OwnerId,
    priority: i8,
    /// What it wants that is not over.
    pub(crate) builds: BTreeSet<BuildId>,
    /// What that is expected to take, in milliseconds.
    pub(crate) work: u64,
    pub(crate) running: u32,
}

impl Request {
    fn is_small(&self) -> bool {
        self.builds.len() <= FEW && self.work <= LITTLE
    }
}

/// One who asks, over all requests.
#[derive(Debug, Default)]
struct Owner {
    requests: BTreeSet<RequestId>,
    running: u32,
    max_running: Option<u32>,
}

/// The open requests, and who asks.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    requests: BTreeMap<RequestId, Request>,
    owners: BTreeMap<OwnerId, Owner>,
}

impl Requests {
    /// Opens a request, or changes an open one.
    pub(crate) fn open(
        &mut self,
        id: RequestId,
        owner: OwnerId,
        priority: i8,
        max_running: Option<u32>,
    ) {
        let entry = self.owners.entry(owner.clone()).or_default();
        entry.requests.insert(id);
        entry.max_running = max_running;
        let priority = priority.clamp(-PRIORITY, PRIORITY);
        let request = self.requests.entry(id).or_insert_with(|| Request {
            owner,
            priority,
            builds: BTreeSet::new(),
            work: 0,
            running: 0,
        });
        request.priority = priority;
    }

    /// Closes a request; what it wanted.
    pub(crate) fn close(&mut self, id: RequestId) -> Option<Request> {
        let request = self.requests.remove(&id)?;
        if let Some(owner) = self.owners.get_mut(&request.owner) {
            owner.requests.remove(&id);
            owner.running = owner.running.saturating_sub(request.running);
            if owner.requests.is_empty() {
                self.owners.remove(&request.owner);
            }
        }
        Some(request)
    }

    /// The request, if it is open.
    pub(crate) fn get(&self, id: RequestId) -> Option<&Request> {
        self.requests.get(&id)
    }

    /// Lets a request want a build that is expected to take `work`.
    pub(crate) fn add(&mut self, id: RequestId, build: BuildId, work: u64) {
        if let Some(request) = self.requests.get_mut(&id)
            && request.builds.insert(build)
        {
            request.work = request.work.saturating_add(work);
        }
    }

    /// Lets a request want a build no more.
    pub(crate) fn remove(&mut self, id: RequestId, build: BuildId, work: u64) {
        if let Some(request) = self.requests.get_mut(&id)
            && request.builds.remove(&build)
        {
            request.work = request.work.saturating_sub(work);
        }
    }

    /// An attempt for `asker` took a slot.
    pub(crate) fn started(&mut self, asker: Asker) {
        self.count(asker, |running| running + 1);
    }

    /// An attempt for `asker` gave its slot back.
    pub(crate) fn ended(&mut self, asker: Asker) {
        self.count(asker, |running| running.saturating_sub(1));
    }

    fn count(&mut self, asker: Asker, change: impl Fn(u32) -> u32) {
        if let Asker::Request(id) = asker
            && let Some(request) = self.requests.get_mut(&id)
        {
            request.running = change(request.running);
            if let Some(owner) = self.owners.get_mut(&request.owner) {
                owner.running = change(owner.running);
            }
        }
    }

    /// Everybody that asks for `owner`.
    pub(crate) fn of(&self, owner: &OwnerId) -> Vec<Asker> {
        let owner = self.owners.get(owner).into_iter();
        let requests = owner.flat_map(|owner| &owner.requests);
        requests.copied().map(Asker::Request).collect()
    }

    /// Who shares a limit with `asker`, itself included: their shares may change
    /// when its does.
    pub(crate) fn tied(&self, asker: Asker) -> Vec<Asker> {
        let limited = match asker {
            Asker::Alone(_) => None,
            Asker::Request(id) => (self.requests.get(&id))
                .and_then(|request| self.owners.get(&request.owner))
                .filter(|owner| owner.max_running.is_some()),
        };
        match limited {
            Some(owner) => owner.requests.iter().copied().map(Asker::Request).collect(),
            None => vec![asker],
        }
    }

    /// The limit that keeps `asker` from another slot, and whose it is.
    pub(crate) fn limit(&self, asker: Asker) -> Option<(&OwnerId, u32)> {
        let Asker::Request(id) = asker else {
            return None;
        };
        let request = self.requests.get(&id)?;
        let owner = self.owners.get(&request.owner)?;
        let limit = owner.max_running?;
        (owner.running >= limit).then_some((&request.owner, limit))
    }

    /// The most attempts at once that a request may have by the limit of its
    /// owner.
    pub(crate) fn most_running(&self, id: RequestId) -> Option<u32> {
        let request = self.requests.get(&id)?;
        self.owners.get(&request.owner)?.max_running
    }

    /// The open requests that want something, but for `id`, and how many builds
    /// each wants.
    pub(crate) fn open_beside(&self, id: RequestId) -> impl Iterator<Item = (RequestId, usize)> {
        let others = self.requests.iter().filter(move |(other, _)| **other != id);
        let wanting = others.map(|(other, request)| (*other, request.builds.len()));
        wanting.filter(|(_, builds)| *builds > 0)
    }

    /// What `asker` has for what it is worth.
    pub(crate) fn share(&self, asker: Asker) -> Share {
        if self.limit(asker).is_some() {
            return Share::NONE;
        }
        let request = self.request(asker);
        let running = request.map_or(0, |request| request.running);
        Share((u64::from(running) + 1).saturating_mul(self.step(asker)))
    }

    /// What each attempt adds to the share of `asker`.
    pub(crate) fn step(&self, asker: Asker) -> u64 {
        let request = self.request(asker);
        let priority = request.map_or(0, |request| i32::from(request.priority));
        let lane = request.is_some_and(Request::is_small);
        1 << (UNIT - priority - if lane { LANE } else { 0 })
    }

    /// How long `asker` may wait for its next slot while others get theirs.
    pub(crate) fn patience(&self, asker: Asker) -> Duration {
        let priority = self.request(asker).map_or(0, |request| request.priority);
        let lower = u32::from(priority.min(0).unsigned_abs());
        PATIENCE * 2_u32.pow(lower)
    }

    fn request(&self, asker: Asker) -> Option<&Request> {
        match asker {
            Asker::Request(id) => self.requests.get(&id),
            Asker::Alone(_) => None,
        }
    }
}
