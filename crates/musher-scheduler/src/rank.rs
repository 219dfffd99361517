//! How urgent a build is. Knows nothing of machines.

use std::cmp::Reverse;

use crate::build::Turn;
use crate::{BuildId, Estimate};

/// A build's upward rank: how long it and the longest row of builds that need
/// each other after it are expected to take, on machines of speed factor 1, in
/// milliseconds. Everything of a higher rank is more urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Rank(u64);

/// Beyond this, some thirty years, a rank says no more. Keeps sums from
/// overflowing.
const MOST: u64 = 1_000_000_000_000;

impl Rank {
    /// The rank of a build expected to take as long as `estimate` says, of whose
    /// users `highest` is the highest rank.
    pub(crate) fn above(estimate: &Estimate, highest: Self) -> Self {
        let sum = highest
            .0
            .saturating_add(millis(estimate.cautious_seconds()));
        Self(sum.min(MOST))
    }

    /// In seconds.
    pub(crate) fn seconds(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

/// `seconds` in milliseconds; what is no number counts as nothing.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, and what is below zero is nothing"
)]
pub(crate) fn millis(seconds: f64) -> u64 {
    ((seconds * 1000.0) as u64).min(MOST)
}

/// Where a build stands among those of one asker: by rank, then by age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    rank: Reverse<Rank>,
    turn: Turn,
    /// Which.
    pub(crate) build: BuildId,
}

impl Place {
    pub(crate) fn new(rank: Rank, turn: Turn, build: BuildId) -> Self {
        let rank = Reverse(rank);
        Self { rank, turn, build }
    }
}
