//! Who may decide: the scheduler, and simple ways to compare it with.

mod ladder;
mod list;

use musher_scheduler::{
    Action, BuildId, Event, Explanation, LeaseId, Scheduler, Settings, Timestamp,
};

use self::list::{List, Pick};
use crate::Random;
use crate::graph::Graph;

/// Decides which build runs where.
pub trait Decider {
    /// Applies one event, as [`Scheduler::handle`] does.
    fn handle(&mut self, now: Timestamp, event: Event) -> Vec<Action>;

    /// When it wants to be told that time passed, as [`Scheduler::review_at`]
    /// has it.
    fn review_at(&self) -> Option<Timestamp>;
}

/// A decider that says why builds wait.
pub trait Explainer: Decider {
    /// What becomes of a build, as [`Scheduler::explain`] has it.
    fn explain(&self, build: BuildId) -> Option<Explanation>;
}

impl Decider for Scheduler {
    fn handle(&mut self, now: Timestamp, event: Event) -> Vec<Action> {
        Self::handle(self, now, event)
    }

    fn review_at(&self) -> Option<Timestamp> {
        Self::review_at(self)
    }
}

impl Explainer for Scheduler {
    fn explain(&self, build: BuildId) -> Option<Explanation> {
        Self::explain(self, build)
    }
}

impl<D: Decider + ?Sized> Decider for Box<D> {
    fn handle(&mut self, now: Timestamp, event: Event) -> Vec<Action> {
        (**self).handle(now, event)
    }

    fn review_at(&self) -> Option<Timestamp> {
        (**self).review_at()
    }
}

/// A way to decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Musher's scheduler.
    Musher,
    /// Stock Nix: ready builds by name, each on the machine with a free slot
    /// that is least loaded for its speed.
    Stock,
    /// In an order that means nothing; like the others below on the fastest
    /// machine with a free slot.
    Random,
    /// First those that the most others depend on, however far.
    Dependents,
    /// First those before the longest chain of others, counted in steps.
    Depth,
}

impl Policy {
    /// All there are.
    pub const ALL: [Self; 5] = [
        Self::Musher,
        Self::Stock,
        Self::Random,
        Self::Dependents,
        Self::Depth,
    ];

    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Musher => "musher",
            Self::Stock => "stock",
            Self::Random => "random",
            Self::Dependents => "dependents",
            Self::Depth => "depth",
        }
    }

    /// One that decides for these graphs, whose nodes are the builds 0, 1, 2 and
    /// so on.
    pub(crate) fn decider(self, graphs: &[&Graph], seed: u64) -> Box<dyn Decider> {
        let list = |pick, ladder| Box::new(List::new(pick, ladder));
        match self {
            Self::Musher => Box::new(Scheduler::new(Settings::default(), LeaseId(1))),
            Self::Stock => list(Pick::LeastLoaded, ladder::by_name(graphs)),
            Self::Random => {
                let mut ladder = ladder::as_they_come(graphs);
                Random::new(seed, "policy").shuffle(&mut ladder);
                list(Pick::Fastest, ladder)
            }
            Self::Dependents => list(Pick::Fastest, ladder::by_dependents(graphs)),
            Self::Depth => list(Pick::Fastest, ladder::by_depth(graphs)),
        }
    }
}
