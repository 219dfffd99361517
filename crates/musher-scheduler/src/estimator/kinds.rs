//! How long builds of a kind take, for those of which nothing else is known.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::BuildKind;
use crate::Estimate;

/// Builds of a kind that must have been seen before its usual time is replaced
/// by theirs.
const ENOUGH: u32 = 20;
/// Builds counted of a kind before the older ones count half.
const MANY: u32 = 4096;
/// Systems told apart; there are some ten in the world.
const SYSTEMS: usize = 64;
/// Steps of the scale for a doubling of the time.
const STEPS: f64 = 4.0;
/// The scale's beginning, in seconds.
const SHORTEST: f64 = 0.001;
/// Steps of the scale: up to some two years.
const SCALE: usize = 144;

/// How long builds of each kind took.
#[derive(Debug, Default)]
pub(super) struct Kinds {
    of_all: BTreeMap<BuildKind, Times>,
    by_system: BTreeMap<Arc<str>, BTreeMap<BuildKind, Times>>,
}

/// How many builds took how long, on a scale of equal ratios.
#[derive(Debug)]
struct Times {
    counts: [u32; SCALE],
    total: u32,
}

impl Kinds {
    /// A build took `seconds` at speed 1.
    pub(super) fn learn(&mut self, kind: BuildKind, system: &str, seconds: f64) {
        self.of_all.entry(kind).or_default().add(seconds);
        if !self.by_system.contains_key(system) && self.by_system.len() < SYSTEMS {
            self.by_system.insert(system.into(), BTreeMap::new());
        }
        if let Some(kinds) = self.by_system.get_mut(system) {
            kinds.entry(kind).or_default().add(seconds);
        }
    }

    /// How long a build of this kind may take: the median of those for the same
    /// system, or of all, or what is usual in the world.
    pub(super) fn seconds(&self, kind: BuildKind, system: &str) -> f64 {
        let here = self.by_system.get(system);
        let here = here.and_then(|kinds| kinds.get(&kind)?.median());
        let of_all = || self.of_all.get(&kind).and_then(Times::median);
        here.or_else(of_all).unwrap_or_else(|| usual(kind))
    }
}

/// What builds of a kind take with nothing to go by.
fn usual(kind: BuildKind) -> f64 {
    match kind {
        BuildKind::Ordinary => Estimate::UNKNOWN.seconds,
        // Most are downloads of source code.
        BuildKind::FixedOutput => 2.0,
        BuildKind::Builtin => 1.0,
        // A shell starts and ends.
        BuildKind::Trivial => 0.2,
    }
}

impl Default for Times {
    fn default() -> Self {
        Self {
            counts: [0; SCALE],
            total: 0,
        }
    }
}

impl Times {
    fn add(&mut self, seconds: f64) {
        let mut step = 0;
        while step + 1 < SCALE && upper_end(step) < seconds {
            step += 1;
        }
        self.counts[step] += 1;
        self.total += 1;
        if self.total >= MANY {
            for count in &mut self.counts {
                *count /= 2;
            }
            self.total = self.counts.iter().sum();
        }
    }

    fn median(&self) -> Option<f64> {
        if self.total < ENOUGH {
            return None;
        }
        let mut below = 0;
        let is_middle = |count: &u32| {
            below += count;
            2 * below >= self.total
        };
        let step = self.counts.iter().position(is_middle)?;
        // The middle of the step.
        Some(upper_end(step) / (0.5 / STEPS).exp2())
    }
}

/// Where a step of the scale ends, in seconds.
fn upper_end(step: usize) -> f64 {
    // Steps are few: exact.
    SHORTEST * (step as f64 / STEPS).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_learnt_from_enough_builds_of_it() {
        let mut kinds = Kinds::default();
        for _ in 0..ENOUGH - 1 {
            kinds.learn(BuildKind::Ordinary, "a", 10.0);
        }
        assert!((kinds.seconds(BuildKind::Ordinary, "a") - 60.0).abs() < f64::EPSILON);
        kinds.learn(BuildKind::Ordinary, "b", 10.0);
        for system in ["a", "b", "c"] {
            let seconds = kinds.seconds(BuildKind::Ordinary, system);
            assert!((8.0..12.0).contains(&seconds), "{system}: {seconds}");
        }
        assert!((kinds.seconds(BuildKind::Builtin, "a") - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn a_kind_follows_when_the_world_changes() {
        let mut kinds = Kinds::default();
        for _ in 0..100_000 {
            kinds.learn(BuildKind::FixedOutput, "a", 1e9);
        }
        for _ in 0..MANY {
            kinds.learn(BuildKind::FixedOutput, "a", 0.0);
        }
        let seconds = kinds.seconds(BuildKind::FixedOutput, "a");
        assert!(seconds < 0.001, "{seconds}");
    }
}
