//! Remembers what was told last and what was decided, for whoever looks for the
//! cause of a breach.

use std::collections::VecDeque;

use musher_scheduler::{Action, BuildId, Event, Explanation, Timestamp};

use crate::{Decider, Explainer};

/// How much is remembered.
const REMEMBERED: usize = 30;

/// A decider with a memory.
#[derive(Debug)]
pub(super) struct Recorder<D> {
    decider: D,
    last: VecDeque<(Timestamp, Event, Vec<Action>)>,
}

impl<D> Recorder<D> {
    pub(super) fn new(decider: D) -> Self {
        Self {
            decider,
            last: VecDeque::new(),
        }
    }

    /// The last events with what they led to, a line each.
    pub(super) fn story(&self) -> Vec<String> {
        (self.last.iter())
            .map(|(at, event, actions)| match actions.is_empty() {
                true => format!("{at} {event:?}"),
                false => format!("{at} {event:?} -> {actions:?}"),
            })
            .collect()
    }
}

impl<D: Decider> Decider for Recorder<D> {
    fn handle(&mut self, now: Timestamp, event: Event) -> Vec<Action> {
        if self.last.len() == REMEMBERED {
            self.last.pop_front();
        }
        let actions = self.decider.handle(now, event.clone());
        self.last.push_back((now, event, actions.clone()));
        actions
    }

    fn review_at(&self) -> Option<Timestamp> {
        self.decider.review_at()
    }
}

impl<D: Explainer> Explainer for Recorder<D> {
    fn explain(&self, build: BuildId) -> Option<Explanation> {
        self.decider.explain(build)
    }
}
