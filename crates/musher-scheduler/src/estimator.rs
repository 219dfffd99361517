//! What builds will cost, learnt from those that ended. Knows not where these
//! were noted down, and no clock: times come with what it is told.
//!
//! A derivation that was built before costs what it cost; another of the same
//! package what that cost lately; anything else what its kind usually costs.
//! Times are of a machine of speed factor 1; how fast machines truly are is
//! learnt along with them.

mod kinds;
mod median;
mod package;
mod package_name;
mod speeds;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nix_derivation::StorePath;

use crate::{Confidence, Estimate, MachineId, SpeedFactor};

use kinds::Kinds;
use package::{Package, Sample};
pub use package_name::package_name;
use speeds::Speeds;

/// Packages remembered; beyond it the one that was built longest ago goes. At
/// some 300 bytes each and 100 a sample, 35 MB when full.
const PACKAGES: usize = 50_000;
/// Samples remembered of all packages together.
const SAMPLES: usize = 200_000;
/// The longest time that is believed, in seconds: a year.
const LONGEST: f64 = 365.0 * 86_400.0;
/// Builds shorter than this, in seconds, are mostly start and end, and say
/// nothing of a machine's speed.
const TELLING: f64 = 2.0;

/// What sort of work a build is, as far as its derivation shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BuildKind {
    /// Any that is none of the others.
    Ordinary,
    /// Its result is known beforehand: most often a download.
    FixedOutput,
    /// Nix has it built in.
    Builtin,
    /// It does next to nothing, such as writing a file.
    Trivial,
}

/// What an estimate is wanted for.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The derivation's name, such as `hello-2.12.1`.
    pub name: &'a str,
    /// Its path, where that is known.
    pub drv: Option<&'a StorePath>,
    /// The system it is built for.
    pub system: &'a str,
    /// What sort of work it is.
    pub kind: BuildKind,
}

/// How an attempt ended, as far as something is to be learnt from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observed {
    /// It was built.
    Built,
    /// It took more memory than there was.
    OutOfMemory,
}

/// An attempt that ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// What was built.
    pub drv: StorePath,
    /// The system it was built for.
    pub system: String,
    /// What sort of work it was.
    pub kind: BuildKind,
    /// Where.
    pub machine: MachineId,
    /// How it ended.
    pub outcome: Observed,
    /// How long the build program ran, in seconds.
    pub seconds: f64,
    /// The most memory it took at one time, in bytes, where that is known.
    pub peak_memory: Option<u64>,
    /// The size of its outputs as NARs, in bytes, where that is known.
    pub output_bytes: Option<u64>,
    /// When it ended, on a clock that all observations share.
    pub ended: u64,
}

/// Learns what builds cost. The same observations in the same order give the
/// same estimates.
#[derive(Debug)]
pub struct Estimator {
    /// By system, then by package name.
    packages: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Package>>,
    /// Every package, the one that was built longest ago first.
    by_age: BTreeSet<Age>,
    samples: usize,
    bounds: Bounds,
    kinds: Kinds,
    speeds: Speeds,
}

/// When a package was last built, its system and its name.
type Age = (u64, Arc<str>, Arc<str>);

/// How much is remembered.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    packages: usize,
    samples: usize,
}

impl Default for Estimator {
    fn default() -> Self {
        Self::with_bounds(Bounds {
            packages: PACKAGES,
            samples: SAMPLES,
        })
    }
}

impl Estimator {
    fn with_bounds(bounds: Bounds) -> Self {
        Self {
            packages: BTreeMap::new(),
            by_age: BTreeSet::new(),
            samples: 0,
            bounds,
            kinds: Kinds::default(),
            speeds: Speeds::default(),
        }
    }

    /// Takes note of how fast a machine is configured to be. What was learnt of
    /// it counts as not told to anybody; see [`Self::changed_speeds`].
    pub fn configure(&mut self, machine: &MachineId, factor: SpeedFactor) {
        self.speeds.configure(machine, factor);
    }

    /// Learns from an attempt that ended. Times that no clock can have measured
    /// are passed over.
    pub fn learn(&mut self, observation: &Observation) {
        let is_time = observation.seconds.is_finite() && observation.seconds >= 0.0;
        let seconds = match observation.outcome {
            Observed::Built if is_time => Some(observation.seconds.min(LONGEST)),
            Observed::Built => return,
            Observed::OutOfMemory if observation.peak_memory.is_some() => None,
            Observed::OutOfMemory => return,
        };
        let sample = Sample {
            ended: observation.ended,
            digest: *observation.drv.digest(),
            machine: observation.machine.clone(),
            seconds,
            peak_memory: observation.peak_memory,
            output_bytes: observation.output_bytes,
        };
        let name = package_name(plain_name(&observation.drv));
        let package = self.package(&observation.system, name);
        let is_new = !package.knows(&sample.digest);
        let others = match observation.kind {
            BuildKind::Ordinary => package.elsewhere(&sample),
            // They wait for the network, or are over at once.
            BuildKind::FixedOutput | BuildKind::Builtin | BuildKind::Trivial => Vec::new(),
        };
        if let Some(seconds) = seconds {
            for (machine, there) in others {
                if seconds >= TELLING && there >= TELLING {
                    let ratio = (there / seconds).ln();
                    self.speeds.compared(&sample.machine, &machine, ratio);
                }
            }
            if is_new {
                let seconds = seconds * self.speeds.factor(&sample.machine);
                self.kinds
                    .learn(observation.kind, &observation.system, seconds);
            }
        }
        self.remember(&observation.system, name, sample);
    }

    /// What a build is expected to cost.
    pub fn estimate(&self, subject: &Subject<'_>) -> Estimate {
        let package = self
            .packages
            .get(subject.system)
            .and_then(|packages| packages.get(package_name(subject.name)));
        let known = package.and_then(|package| {
            let digest = subject.drv.map(StorePath::digest);
            package.estimate(digest, |machine| self.speeds.factor(machine))
        });
        known.unwrap_or_else(|| Estimate {
            seconds: self.kinds.seconds(subject.kind, subject.system),
            confidence: Confidence::Guess,
            // Of a build that only ever lacked memory that much is known.
            peak_memory: package.and_then(Package::peak_memory),
            output_bytes: None,
        })
    }

    /// How many builds that estimate rests on, of those that are remembered; 0
    /// for one that rests on builds in general.
    pub fn based_on(&self, subject: &Subject<'_>) -> usize {
        let package = self.package(subject.system, package_name(subject.name));
        package.based_on(subject.drv.map(StorePath::digest))
    }

    /// How fast a machine is as far as anything is known: as it was found to be,
    /// or as it is configured.
    pub fn factor(&self, machine: &MachineId) -> f64 {
        self.speeds.factor(machine)
    }

    /// How fast a machine was found to be, if it built what others built too.
    pub fn speed(&self, machine: &MachineId) -> Option<SpeedFactor> {
        self.speeds.learnt(machine)
    }

    /// The machines whose speed was learnt, with how often each was compared.
    pub fn speeds(&self) -> impl Iterator<Item = (&MachineId, SpeedFactor, usize)> {
        self.speeds.all()
    }

    /// The speeds that differ by more than a twentieth from what was last
    /// returned here.
    pub fn changed_speeds(&mut self) -> Vec<(MachineId, SpeedFactor)> {
        self.speeds.changed()
    }

    fn package(&self, system: &str, name: &str) -> &Package {
        static NONE: Package = Package::NONE;
        self.packages
            .get(system)
            .and_then(|packages| packages.get(name))
            .unwrap_or(&NONE)
    }

    fn remember(&mut self, system: &str, name: &str, sample: Sample) {
        let (system, packages) = match self.packages.get_key_value(system) {
            Some((system, _)) => (system.clone(), self.packages.get_mut(&system.clone())),
            None => {
                let system: Arc<str> = system.into();
                self.packages.insert(system.clone(), BTreeMap::new());
                (system.clone(), self.packages.get_mut(&system))
            }
        };
        let Some(packages) = packages else {
            unreachable!("bug: no packages for `{system}`");
        };
        let name = match packages.get_key_value(name) {
            Some((name, _)) => name.clone(),
            None => name.into(),
        };
        let package = packages.entry(name.clone()).or_default();
        if let Some(age) = package.age() {
            self.by_age.remove(&(age, system.clone(), name.clone()));
        }
        self.samples -= package.len();
        package.add(sample);
        self.samples += package.len();
        if let Some(age) = package.age() {
            self.by_age.insert((age, system, name));
        }
        while self.by_age.len() > self.bounds.packages || self.samples > self.bounds.samples {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((_, system, name)) = self.by_age.pop_first() else {
            unreachable!("bug: {} samples of no package", self.samples);
        };
        let Some(packages) = self.packages.get_mut(&system) else {
            return;
        };
        let gone = packages.remove(&name);
        self.samples -= gone.map_or(0, |package| package.len());
        if packages.is_empty() {
            self.packages.remove(&system);
        }
    }
}

/// The name of what a derivation's path stands for: `hello-2.12.1`.
fn plain_name(drv: &StorePath) -> &str {
    let name = drv.name();
    name.strip_suffix(".drv").unwrap_or(name)
}
