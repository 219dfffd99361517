//! Every build there is, what needs what, and how urgent each is. Knows neither
//! queue nor machines.

use std::collections::{BTreeMap, BTreeSet};

use crate::build::{Build, ClassId, State, Turn};
use crate::rank::Rank;
use crate::{BuildId, Estimate, RequestId};

/// What is known of a build when it is first heard of.
pub(crate) struct NewBuild {
    pub(crate) build: BuildId,
    pub(crate) class: ClassId,
    pub(crate) estimate: Estimate,
    /// What it needs first.
    pub(crate) after: Vec<BuildId>,
}

/// A build whose rank is another than it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reranked {
    pub(crate) build: BuildId,
    /// What it was.
    pub(crate) before: Rank,
}

/// What follows when builds are gone.
pub(crate) struct Removed {
    /// Whose rank changed.
    pub(crate) reranked: Vec<Reranked>,
    /// What needs nothing any more that is not there.
    pub(crate) unblocked: Vec<BuildId>,
}

/// The builds that are not over.
#[derive(Debug)]
pub(crate) struct Graph {
    builds: BTreeMap<BuildId, Build>,
    next_turn: Turn,
}

impl Default for Graph {
    fn default() -> Self {
        Self {
            builds: BTreeMap::new(),
            next_turn: Turn(0),
        }
    }
}

impl Graph {
    /// The build, if it is not over.
    pub(crate) fn get(&self, build: BuildId) -> Option<&Build> {
        self.builds.get(&build)
    }

    /// The build, if it is not over. What it needs and what needs it are
    /// changed by the methods below alone.
    pub(crate) fn get_mut(&mut self, build: BuildId) -> Option<&mut Build> {
        self.builds.get_mut(&build)
    }

    /// Adds builds, each after those it needs, or lets `request` want the known
    /// ones too. Returns those known before whose rank changed.
    pub(crate) fn plan(
        &mut self,
        request: Option<RequestId>,
        builds: Vec<NewBuild>,
    ) -> Vec<Reranked> {
        let mut added = Vec::new();
        let mut touched = BTreeSet::new();
        for new in builds {
            if !self.builds.contains_key(&new.build) {
                self.add(&new);
                added.push(new.build);
            }
            self.want(new.build, request);
            for before in new.after {
                if self.connect(new.build, before) {
                    touched.insert(before);
                }
            }
        }
        // Users come after what they need, so that seen from the end everybody
        // comes after their users, and one look at each is enough.
        for build in added.iter().rev() {
            let rank = self.rank_of(*build);
            if let Some(build) = self.builds.get_mut(build) {
                build.rank = rank;
            }
        }
        for build in added {
            touched.remove(&build);
        }
        self.rerank(touched)
    }

    fn add(&mut self, new: &NewBuild) {
        let turn = self.next_turn;
        self.next_turn = Turn(turn.0 + 1);
        let build = Build {
            turn,
            class: new.class,
            estimate: new.estimate,
            rank: Rank::default(),
            after: Vec::new(),
            users: Vec::new(),
            requests: Vec::new(),
            inputs: Vec::new(),
            faults: Vec::new(),
            state: State::Planned,
        };
        self.builds.insert(new.build, build);
    }

    fn want(&mut self, build: BuildId, request: Option<RequestId>) {
        if let Some(build) = self.builds.get_mut(&build)
            && let Some(request) = request
            && !build.requests.contains(&request)
        {
            build.requests.push(request);
        }
    }

    /// Lets `user` need `before`. Says whether that is new.
    fn connect(&mut self, user: BuildId, before: BuildId) -> bool {
        let (Some(later), Some(earlier)) = (self.builds.get(&user), self.builds.get(&before))
        else {
            return false;
        };
        if earlier.turn >= later.turn || earlier.users.contains(&user) {
            return false;
        }
        if let Some(later) = self.builds.get_mut(&user) {
            later.after.push(before);
        }
        if let Some(earlier) = self.builds.get_mut(&before) {
            earlier.users.push(user);
        }
        true
    }

    /// Changes what a build is expected to cost. Returns whose rank changed.
    pub(crate) fn estimate(&mut self, build: BuildId, estimate: Estimate) -> Vec<Reranked> {
        let Some(found) = self.builds.get_mut(&build) else {
            return Vec::new();
        };
        found.estimate = estimate;
        self.rerank([build].into())
    }

    /// Forgets builds that are over or not wanted any more.
    pub(crate) fn remove(&mut self, gone: &BTreeSet<BuildId>) -> Removed {
        let mut touched = BTreeSet::new();
        let mut unblocked = Vec::new();
        for id in gone {
            let Some(build) = self.builds.remove(id) else {
                continue;
            };
            for user in build.users {
                if let Some(found) = self.builds.get_mut(&user) {
                    found.after.retain(|before| before != id);
                    if found.after.is_empty() {
                        unblocked.push(user);
                    }
                }
            }
            for before in build.after {
                if let Some(earlier) = self.builds.get_mut(&before) {
                    earlier.users.retain(|user| user != id);
                    touched.insert(before);
                }
            }
        }
        Removed {
            reranked: self.rerank(touched),
            unblocked,
        }
    }

    fn rank_of(&self, build: BuildId) -> Rank {
        let Some(build) = self.builds.get(&build) else {
            return Rank::default();
        };
        let users = build.users.iter().filter_map(|user| self.builds.get(user));
        let highest = users.map(|user| user.rank).max().unwrap_or_default();
        Rank::above(&build.estimate, highest)
    }

    /// Ranks `builds` anew, and what they need as far as it changes for them.
    fn rerank(&mut self, builds: BTreeSet<BuildId>) -> Vec<Reranked> {
        let turn = |graph: &Self, id: BuildId| Some((graph.builds.get(&id)?.turn, id));
        // The latest first: whatever needs a build is ranked before it.
        let mut open: BTreeSet<_> = (builds.into_iter())
            .filter_map(|id| turn(self, id))
            .collect();
        let mut changed = Vec::new();
        while let Some((_, id)) = open.pop_last() {
            let rank = self.rank_of(id);
            let Some(build) = self.builds.get_mut(&id) else {
                continue;
            };
            if build.rank == rank {
                continue;
            }
            let before = std::mem::replace(&mut build.rank, rank);
            changed.push(Reranked { build: id, before });
            let after = build.after.clone();
            open.extend(after.into_iter().filter_map(|id| turn(self, id)));
        }
        changed
    }
}
