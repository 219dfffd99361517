//! What is best for a build of the slots that it could have, and why. Knows
//! neither where these come from nor what becomes of the choice.

use std::cmp::Ordering;
use std::fmt;

use crate::group::Load;
use crate::{MachineId, Timestamp};

/// How many other slots are remembered of a choice, the best.
const REMEMBERED: usize = 4;

/// A slot that a build could have, now or when its present attempt ends.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Offer {
    pub(crate) machine: MachineId,
    /// When the slot is free.
    pub(crate) start: Timestamp,
    /// When the build would be done.
    pub(crate) finish: Timestamp,
    /// NAR bytes that would have to be sent first.
    pub(crate) missing: u64,
    pub(crate) load: Load,
    pub(crate) speed: f64,
}

/// The slots that a build could have.
#[derive(Debug, Default)]
pub(crate) struct Offers {
    /// Those that are free.
    pub(crate) free: Vec<Offer>,
    /// Those that will be.
    pub(crate) busy: Vec<Offer>,
}

/// What is best for a build.
#[derive(Debug, PartialEq)]
pub(crate) enum Choice {
    /// To start at once.
    Start(Placement),
    /// To wait for another slot than the best of those that are free.
    Wait {
        /// What it waits for.
        awaited: Offer,
        /// What it does without.
        declined: Offer,
    },
    /// There is no free slot for it.
    None,
}

/// Why an attempt is where it is: what was known when that was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// When it was decided.
    pub at: Timestamp,
    /// The slot that it has.
    pub chosen: Candidate,
    /// What spoke for that.
    pub because: Because,
    /// The best of the other slots that were looked at, the best first.
    pub others: Vec<Candidate>,
}

/// A slot that a build could have had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Where.
    pub machine: MachineId,
    /// When it was to be free; not later than the decision if it was.
    pub free_at: Timestamp,
    /// When the build would be done there.
    pub ends_at: Timestamp,
    /// NAR bytes of inputs that would have to be sent there first.
    pub missing: u64,
}

/// What spoke for a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    /// There was no other that the build could have.
    OnlySlot,
    /// All others would have finished it later.
    Soonest,
    /// Only slots that were not free would have finished it about as soon.
    Free,
    /// Others would have finished it about as soon, and it had the fewest bytes
    /// to be sent first.
    FewestBytes,
    /// The same, and it had the least to do.
    LeastLoad,
    /// The same, and it was the fastest.
    Fastest,
    /// The same, and there was no difference.
    Name,
    /// A better slot would have been free soon, but many builds wait for such.
    EnoughWait,
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OnlySlot => "there was no other slot for it",
            Self::Soonest => "it finishes it first",
            Self::Free => "it was free, and a busy one would hardly finish it sooner",
            Self::FewestBytes => "of those that finish it about as soon it lacked the least",
            Self::LeastLoad => "of those that finish it about as soon it had the least to do",
            Self::Fastest => "of those that finish it about as soon it is the fastest",
            Self::Name => "it is as good as any other",
            Self::EnoughWait => {
                "a better one would be free soon, but enough builds wait for better ones"
            }
        })
    }
}

impl Offers {
    /// The best of them at `now`, where to finish later by the part `as_good` of
    /// the time that the best takes is as good.
    pub(crate) fn choose(self, now: Timestamp, as_good: f64) -> Choice {
        let best_free = self.free.iter().map(|offer| offer.finish).min();
        let Some(best_free) = best_free else {
            return Choice::None;
        };
        let busy = self.busy.iter().min_by(|a, b| a.by_finish(b));
        let best = (busy.iter())
            .map(|offer| offer.finish)
            .fold(best_free, Timestamp::min);
        let as_good = best + best.since(now).mul_f64(as_good);
        let good_enough = self.free.iter().filter(|offer| offer.finish <= as_good);
        if let Some(offer) = good_enough.min_by(|a, b| a.among_equals(b)) {
            let because = self.because(offer, as_good);
            let offer = offer.clone();
            return Choice::Start(self.placement(now, &offer, because));
        }
        let declined = self.free.into_iter().min_by(Offer::by_finish);
        match (busy.cloned(), declined) {
            (Some(awaited), Some(declined)) => Choice::Wait { awaited, declined },
            // Where there is something free and nothing better, that was taken.
            (_, _) => Choice::None,
        }
    }

    /// What spoke for `chosen`, where to finish until `as_good` is as good.
    fn because(&self, chosen: &Offer, as_good: Timestamp) -> Because {
        let others = self.free.iter().filter(|offer| *offer != chosen);
        let is_as_good = |offer: &&Offer| offer.finish <= as_good;
        if let Some(next) = (others.clone().filter(is_as_good)).min_by(|a, b| a.among_equals(b)) {
            return chosen.beside(next);
        }
        if self.busy.iter().any(|offer| is_as_good(&offer)) {
            return Because::Free;
        }
        match self.busy.is_empty() && others.count() == 0 {
            true => Because::OnlySlot,
            false => Because::Soonest,
        }
    }

    fn placement(self, at: Timestamp, chosen: &Offer, because: Because) -> Placement {
        let offers = self.free.into_iter().chain(self.busy);
        let mut others: Vec<_> = offers.filter(|offer| offer != chosen).collect();
        if others.len() > REMEMBERED {
            others.select_nth_unstable_by(REMEMBERED - 1, Offer::by_finish);
            others.truncate(REMEMBERED);
        }
        others.sort_unstable_by(Offer::by_finish);
        Placement {
            at,
            chosen: chosen.candidate(),
            because,
            others: others.iter().map(Offer::candidate).collect(),
        }
    }
}

impl Offer {
    /// The placement here at `now`, though `better` will be free soon.
    pub(crate) fn taken_before(&self, better: &Self, now: Timestamp) -> Placement {
        Placement {
            at: now,
            chosen: self.candidate(),
            because: Because::EnoughWait,
            others: vec![better.candidate()],
        }
    }

    fn candidate(&self) -> Candidate {
        Candidate {
            machine: self.machine.clone(),
            free_at: self.start,
            ends_at: self.finish,
            missing: self.missing,
        }
    }

    fn by_finish(&self, other: &Self) -> Ordering {
        (self.finish.cmp(&other.finish)).then_with(|| self.among_equals(other))
    }

    /// Fewer bytes to send first, then less load, then more speed, then by name.
    fn among_equals(&self, other: &Self) -> Ordering {
        (self.missing.cmp(&other.missing))
            .then_with(|| self.load.cmp(&other.load))
            .then_with(|| other.speed.total_cmp(&self.speed))
            .then_with(|| self.machine.cmp(&other.machine))
    }

    /// By what it goes before `next` among those that are equally good.
    fn beside(&self, next: &Self) -> Because {
        if self.missing != next.missing {
            Because::FewestBytes
        } else if self.load != next.load {
            Because::LeastLoad
        } else if self.speed.total_cmp(&next.speed).is_ne() {
            Because::Fastest
        } else {
            Because::Name
        }
    }
}
