//! What is remembered of one package for one system.

use super::median;
use crate::{Confidence, Estimate, MachineId};

/// Samples kept of a package, the newest.
const KEPT: usize = 20;
/// What a sample weighs beside the next newer one. Above the golden ratio's
/// inverse, so that one wrong time among three never counts, and low enough that
/// a package that became slower is known to be after two builds.
const FADING: f64 = 0.7;
/// The newest samples whose memory counts.
const RECENT: usize = 5;
/// How many quarters of the memory that was not enough might be.
const MORE_MEMORY: u64 = 6;

/// One attempt.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) ended: u64,
    /// That of the derivation's path.
    pub(super) digest: [u8; 20],
    pub(super) machine: MachineId,
    /// How long it ran there; none if its memory was not enough.
    pub(super) seconds: Option<f64>,
    pub(super) peak_memory: Option<u64>,
    pub(super) output_bytes: Option<u64>,
}

impl Sample {
    /// The memory that a build like this one may take.
    fn memory(&self) -> Option<u64> {
        let peak = self.peak_memory?;
        Some(match self.seconds {
            Some(_) => peak,
            None => (peak / 4).saturating_mul(MORE_MEMORY),
        })
    }
}

/// Attempts at one package, the newest first.
#[derive(Debug, Default)]
pub(super) struct Package(Vec<Sample>);

impl Package {
    pub(super) const NONE: Self = Self(Vec::new());

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// When the newest attempt ended.
    pub(super) fn age(&self) -> Option<u64> {
        self.0.first().map(|sample| sample.ended)
    }

    /// Whether this derivation was built.
    pub(super) fn knows(&self, digest: &[u8; 20]) -> bool {
        (self.0.iter()).any(|sample| sample.digest == *digest && sample.seconds.is_some())
    }

    pub(super) fn add(&mut self, sample: Sample) {
        let at = (self.0).partition_point(|known| known.ended > sample.ended);
        self.0.insert(at, sample);
        self.0.truncate(KEPT);
    }

    /// How long it took on each other machine than `sample` did: the same
    /// derivation where that was built there, otherwise the newest.
    pub(super) fn elsewhere(&self, sample: &Sample) -> Vec<(MachineId, f64)> {
        let mut found: Vec<(MachineId, f64)> = Vec::new();
        let same = |known: &&Sample| known.digest == sample.digest;
        let other = |known: &&Sample| known.digest != sample.digest;
        for known in (self.0.iter().filter(same)).chain(self.0.iter().filter(other)) {
            let is_new = known.machine != sample.machine
                && found.iter().all(|(machine, _)| *machine != known.machine);
            if let Some(seconds) = known.seconds.filter(|_| is_new) {
                found.push((known.machine.clone(), seconds));
            }
        }
        found
    }

    /// What the derivation with this digest, or any other of the package, is
    /// expected to cost, if any was built. `factor` says how fast machines are.
    pub(super) fn estimate(
        &self,
        digest: Option<&[u8; 20]>,
        factor: impl Fn(&MachineId) -> f64,
    ) -> Option<Estimate> {
        let same = |sample: &&Sample| digest == Some(&sample.digest);
        let of_all = || self.0.iter();
        let of_same = || self.0.iter().filter(same);
        let known = seconds(of_same(), &factor).map(|seconds| (seconds, Confidence::Known));
        let similar = || seconds(of_all(), &factor).map(|seconds| (seconds, Confidence::Similar));
        let (seconds, confidence) = known.or_else(similar)?;
        let size = |sample: &Sample| sample.output_bytes;
        Some(Estimate {
            seconds,
            confidence,
            peak_memory: peak(of_same()).or_else(|| peak(of_all())),
            output_bytes: of_same().find_map(size).or_else(|| of_all().find_map(size)),
        })
    }

    /// How many samples such an estimate of the time rests on.
    pub(super) fn based_on(&self, digest: Option<&[u8; 20]>) -> usize {
        let timed = || self.0.iter().filter(|sample| sample.seconds.is_some());
        let same = timed().filter(|sample| digest == Some(&sample.digest));
        match same.count() {
            0 => timed().count(),
            same => same,
        }
    }

    /// The memory that any of its derivations may take.
    pub(super) fn peak_memory(&self) -> Option<u64> {
        peak(self.0.iter())
    }
}

/// The median of how long samples took at speed 1, the newer weighing more.
fn seconds<'a>(
    samples: impl Iterator<Item = &'a Sample>,
    factor: impl Fn(&MachineId) -> f64,
) -> Option<f64> {
    let mut weight = 1.0;
    let times = samples.filter_map(|sample| Some(sample.seconds? * factor(&sample.machine)));
    let weighed = times.map(|seconds| {
        let one = (seconds, weight);
        weight *= FADING;
        one
    });
    median::weighted(weighed.collect())
}

/// The most memory that the newest samples speak for.
fn peak<'a>(samples: impl Iterator<Item = &'a Sample>) -> Option<u64> {
    samples.filter_map(Sample::memory).take(RECENT).max()
}
