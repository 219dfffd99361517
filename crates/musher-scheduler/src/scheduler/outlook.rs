//! How far a request is, and when it may be over.

use std::collections::BTreeSet;

use super::Scheduler;
use crate::build::{Build, State};
use crate::explain::Outlook;
use crate::fleet::Machine;
use crate::request::Asker;
use crate::{Confidence, RequestId, Timestamp};

/// What is left of one build.
struct Left {
    /// In seconds on a machine of speed factor 1.
    work: f64,
    /// Until it and the longest row after it are over, in seconds.
    row: f64,
}

/// What the machines can do for a request.
struct Capacity {
    /// The speed of the fastest.
    best: f64,
    /// The slots, each as many as its speed.
    all: f64,
    /// The speed of a slot that others use, on the whole.
    slot: f64,
}

impl Scheduler {
    /// How far a request is at `now`; `None` if it is not open. Looks at each of
    /// its builds: to be asked now and then, not at every event.
    pub fn outlook(&self, now: Timestamp, id: RequestId) -> Option<Outlook> {
        let request = self.requests.get(id)?;
        let builds = || request.builds.iter().filter_map(|id| self.graph.get(*id));
        let capacity = self.capacity(builds());
        let mut outlook = Outlook {
            planned: 0,
            waiting: 0,
            running: 0,
            // Exact enough: it is an estimate.
            work_seconds: request.work as f64 / 1000.0,
            longest_row_seconds: 0.0,
            left_seconds: None,
            is_guess: false,
        };
        let best = capacity.as_ref().map_or(1.0, |capacity| capacity.best);
        let mut left = Left {
            work: 0.0,
            row: 0.0,
        };
        let mut guessed = 0.0;
        for build in builds() {
            match build.state {
                State::Planned | State::Imminent => outlook.planned += 1,
                State::Waiting { .. } => outlook.waiting += 1,
                State::Running { .. } => outlook.running += 1,
            }
            outlook.longest_row_seconds = outlook.longest_row_seconds.max(build.rank.seconds());
            let of_build = self.left(now, build, best);
            left.work += of_build.work;
            if build.estimate.confidence == Confidence::Guess {
                guessed += of_build.work;
            }
            left.row = left.row.max(of_build.row);
        }
        outlook.is_guess = guessed > left.work / 2.0;
        let seconds = capacity.map(|capacity| {
            let share = self.share_of(id, &capacity);
            left.row.max(left.work / share)
        });
        // Whoever may have no slot at all has no end to expect.
        outlook.left_seconds = seconds.filter(|seconds| seconds.is_finite());
        Some(outlook)
    }

    fn left(&self, now: Timestamp, build: &Build, best: f64) -> Left {
        let rank = build.rank.seconds();
        let attempt = build.state.lease().and_then(|it| self.fleet.attempt(it));
        let Some(attempt) = attempt else {
            return Left {
                work: build.estimate.seconds,
                row: rank / best,
            };
        };
        let speed = self.fleet.machine(&attempt.machine).map(Machine::speed);
        let rest = attempt.ends_by(now).since(now).as_secs_f64();
        let after = (rank - build.estimate.cautious_seconds()).max(0.0);
        Left {
            work: rest * speed.unwrap_or(1.0),
            row: rest + after / best,
        }
    }

    /// What the open machines can do that suit any of `builds`; none if there
    /// are none.
    fn capacity<'a>(&self, builds: impl Iterator<Item = &'a Build>) -> Option<Capacity> {
        let classes: BTreeSet<_> = builds.map(|build| build.class).collect();
        let (mut best, mut all, mut slots) = (0.0_f64, 0.0, 0.0);
        for machine in self.fleet.machines().filter(|machine| machine.is_open()) {
            let suits = |class| {
                let lacks = self.classes.get(class).needs.lacks(&machine.spec);
                lacks.is_empty()
            };
            if classes.iter().copied().any(suits) {
                best = best.max(machine.speed());
                all += f64::from(machine.spec.slots) * machine.speed();
                slots += f64::from(machine.spec.slots);
            }
        }
        let slot = all / slots;
        (all > 0.0).then_some(Capacity { best, all, slot })
    }

    /// What of the capacity a request can count on: its share beside the other
    /// requests, and what these have no use for.
    fn share_of(&self, id: RequestId, capacity: &Capacity) -> f64 {
        let weight = |id| 1.0 / self.requests.step(Asker::Request(id)) as f64;
        let others = || self.requests.open_beside(id);
        let mine = weight(id);
        let weights = others().map(|(other, _)| weight(other));
        let fair = capacity.all * mine / weights.fold(mine, |sum, weight| sum + weight);
        let used = others().map(|(_, builds)| builds as f64 * capacity.slot);
        let share = fair.max(capacity.all - used.sum::<f64>());
        match self.requests.most_running(id) {
            Some(most) => share.min(f64::from(most) * capacity.best),
            None => share,
        }
    }
}
