//! One build as its watchers see it: what is to be built, how far it is, what
//! came of it. Knows neither the scheduler nor the machines.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use musher_protocol::types::{BasicDerivation, BuildMode, BuildResult, BuildStatus, PathInfo};
use musher_scheduler::{Input, MachineId, Needs};
use nix_derivation::StorePath;

use crate::attempt_log::AttemptLog;
use crate::held_inputs::HeldInputs;
use crate::held_outputs::HeldOutputs;
use crate::waiting::Waiting;

/// Limits on one attempt; none where nothing limits it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Limits {
    /// The longest time without a byte of log.
    pub(crate) max_silent: Option<Duration>,
    /// The longest time from start to end.
    pub(crate) timeout: Option<Duration>,
    /// The longest log, in bytes.
    pub(crate) max_log: Option<u64>,
}

impl Limits {
    /// The stricter of each two limits.
    pub(crate) fn and(self, other: Self) -> Self {
        fn stricter<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
            match (one, other) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            }
        }
        Self {
            max_silent: stricter(self.max_silent, other.max_silent),
            timeout: stricter(self.timeout, other.timeout),
            max_log: stricter(self.max_log, other.max_log),
        }
    }
}

/// What is to be built.
#[derive(Debug, Clone)]
pub(crate) struct BuildSpec {
    /// The derivation's path.
    pub(crate) drv_path: StorePath,
    /// The derivation without its input derivations.
    pub(crate) derivation: BasicDerivation,
    /// What to do about outputs that exist.
    pub(crate) mode: BuildMode,
    /// Limits of each attempt.
    pub(crate) limits: Limits,
    /// The inputs that are not at home.
    pub(crate) held: HeldInputs,
    /// Whether someone waits for the NAR of its output, so that it is asked for
    /// together with the build.
    pub(crate) nar_ahead: bool,
    /// Whether the build directory of a failed attempt is kept, where a worker
    /// of ours makes it.
    pub(crate) keep_failed: bool,
}

impl BuildSpec {
    /// What is left to know of it once it is over.
    pub(crate) fn slim(&self) -> Self {
        let derivation = BasicDerivation {
            outputs: self.derivation.outputs.clone(),
            input_sources: BTreeSet::new(),
            system: self.derivation.system.clone(),
            builder: String::new(),
            args: Vec::new(),
            env: BTreeMap::new(),
        };
        Self {
            drv_path: self.drv_path.clone(),
            derivation,
            mode: self.mode,
            limits: self.limits,
            held: HeldInputs::default(),
            nar_ahead: self.nar_ahead,
            keep_failed: self.keep_failed,
        }
    }

    /// What the derivation needs of a machine.
    pub(crate) fn needs(&self) -> Needs {
        needs(&self.derivation)
    }
}

/// What `derivation` needs of a machine: its system, its
/// `requiredSystemFeatures`, and `ca-derivations` where an output's path is not
/// known before the build (Nix requires it silently).
pub(crate) fn needs(derivation: &BasicDerivation) -> Needs {
    let mut features = required_features(derivation);
    let mut outputs = derivation.outputs.values();
    if outputs.any(|output| output.path.is_none()) {
        features.insert("ca-derivations".to_owned());
    }
    Needs {
        system: derivation.system.clone(),
        features,
    }
}

/// The outputs of `derivation` that may mention what they do not refer to: the
/// derivation says so (`unsafeDiscardReferences`), or their contents are known
/// beforehand, and came from wherever else.
pub(crate) fn undisclosed_outputs(derivation: &BasicDerivation) -> BTreeSet<String> {
    let attrs = derivation.env.get("__json").map(Vec::as_slice);
    let attrs: serde_json::Value =
        serde_json::from_slice(attrs.unwrap_or_default()).unwrap_or_default();
    let is_discarded =
        |output: &String| attrs["unsafeDiscardReferences"][output].as_bool() == Some(true);
    (derivation.outputs.iter())
        .filter(|(name, output)| {
            let is_fixed = output.path.is_some() && !output.hash.is_empty();
            is_fixed || is_discarded(name)
        })
        .map(|(name, _)| name.clone())
        .collect()
}

fn required_features(derivation: &BasicDerivation) -> BTreeSet<String> {
    const NAME: &str = "requiredSystemFeatures";
    if let Some(json) = derivation.env.get("__json") {
        let attrs: serde_json::Value = serde_json::from_slice(json).unwrap_or_default();
        return (attrs[NAME].as_array().into_iter().flatten())
            .filter_map(|feature| feature.as_str())
            .map(ToOwned::to_owned)
            .collect();
    }
    let text = derivation
        .env
        .get(NAME)
        .map(Vec::as_slice)
        .unwrap_or_default();
    String::from_utf8_lossy(text)
        .split_whitespace()
        .map(ToOwned::to_owned)
        .collect()
}

/// The paths a build needs, with their infos, each after those it refers to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Closure(pub(crate) Vec<PathInfo>);

impl Closure {
    /// The paths as the scheduler wants them.
    pub(crate) fn inputs(&self) -> Vec<Input> {
        (self.0.iter())
            .map(|info| Input {
                path: info.path.clone(),
                nar_size: info.nar_size,
            })
            .collect()
    }

    /// The paths alone.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &StorePath> {
        self.0.iter().map(|info| &info.path)
    }
}

/// How far a build is.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    /// Whether it waits, runs or has ended.
    pub(crate) stage: Stage,
    /// Its newest attempt, if there was any.
    pub(crate) attempt: Option<Attempt>,
}

impl Progress {
    /// Whether the build has ended.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Ended(_))
    }
}

/// Whether a build waits, runs or has ended.
#[derive(Debug, Clone)]
pub(crate) enum Stage {
    /// No attempt runs, for this reason.
    Waiting(Arc<Waiting>),
    /// The newest attempt runs.
    Running,
    /// It is over.
    Ended(Arc<Ended>),
}

/// One try on one machine.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    /// The lease, which also numbers the attempt.
    pub(crate) number: u64,
    /// Where.
    pub(crate) machine: MachineId,
    /// What the build program says.
    pub(crate) log: AttemptLog,
}

/// What a worker of ours measured of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Measured {
    /// From the start of the build program to its end.
    pub(crate) wall: Duration,
    /// CPU time in user mode.
    pub(crate) cpu_user: Duration,
    /// CPU time in the kernel.
    pub(crate) cpu_system: Duration,
    /// The most memory at one time, in bytes, where known.
    pub(crate) peak_memory: Option<u64>,
    /// Bytes written to disks, where known.
    pub(crate) written: Option<u64>,
    /// How it was measured: `cgroup-v2`, `cgroup-v1` or `rusage`.
    pub(crate) source: String,
    /// How the build program ended, if it ran.
    pub(crate) exit: Option<Exit>,
    /// Whether the build ran in a sandbox.
    pub(crate) sandboxed: bool,
}

impl Measured {
    /// CPU time in all.
    pub(crate) fn cpu(&self) -> Duration {
        self.cpu_user.saturating_add(self.cpu_system)
    }
}

/// How a build program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It returned this status.
    Status(i32),
    /// This signal ended it.
    Signal(i32),
}

/// What came of a build.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The outcome.
    pub(crate) result: BuildResult,
    /// Infos of the valid outputs, by output name.
    pub(crate) outputs: BTreeMap<String, PathInfo>,
    /// Where it ran, if anywhere.
    pub(crate) machine: Option<MachineId>,
    /// How long its last attempt took, the sending of inputs included.
    pub(crate) took: Duration,
    /// How long the build program of that attempt ran, as far as could be seen
    /// from here.
    pub(crate) ran: Option<Duration>,
    /// What its last attempt used, where the machine measures that.
    pub(crate) measured: Option<Measured>,
    /// Keeps the outputs on the machine, and gives their NARs.
    pub(crate) held: Option<HeldOutputs>,
    /// Inputs that could not be read from where they lay. If there are any,
    /// nothing is said of the build itself.
    pub(crate) lost: BTreeSet<StorePath>,
    /// What can be done about a failure, where that is known.
    pub(crate) help: Option<String>,
    /// Where on the machine its build directory was kept.
    pub(crate) kept_dir: Option<String>,
    /// When what happened to it, if there was an attempt.
    pub(crate) times: Option<Times>,
}

/// When what happened to a build that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    /// It could have run from then on.
    pub(crate) ready: Instant,
    /// Its last attempt began.
    pub(crate) assigned: Instant,
    /// That ended.
    pub(crate) ended: Instant,
    /// How long attempts before it ran that came to nothing.
    pub(crate) lost: Duration,
}

impl Ended {
    /// How long the build program ran, as exactly as that is known.
    pub(crate) fn wall(&self) -> Duration {
        let measured = self.measured.as_ref().map(|measured| measured.wall);
        measured.or(self.ran).unwrap_or(self.took)
    }

    /// NAR bytes of the outputs.
    pub(crate) fn output_bytes(&self) -> u64 {
        self.outputs.values().map(|info| info.nar_size).sum()
    }

    /// A build that ended without an attempt, or in none of those it had.
    pub(crate) fn nowhere(status: BuildStatus, text: &str) -> Self {
        Self {
            result: BuildResult::new(status, text),
            outputs: BTreeMap::new(),
            machine: None,
            took: Duration::ZERO,
            ran: None,
            measured: None,
            held: None,
            lost: BTreeSet::new(),
            help: None,
            kept_dir: None,
            times: None,
        }
    }
}
