//! One build as its watchers see it: what is to be built, how far it is, what
//! came of it. Knows neither the scheduler nor the machines.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use musher_protocol::types::{BasicDerivation, BuildMode, BuildResult, PathInfo};
use musher_scheduler::{Input, MachineId, Needs};
use nix_derivation::StorePath;

use crate::attempt_log::AttemptLog;
use crate::held_outputs::HeldOutputs;

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
#[derive(Debug)]
pub(crate) struct BuildSpec {
    /// The derivation's path.
    pub(crate) drv_path: StorePath,
    /// The derivation without its input derivations.
    pub(crate) derivation: BasicDerivation,
    /// What to do about outputs that exist.
    pub(crate) mode: BuildMode,
    /// Limits of each attempt.
    pub(crate) limits: Limits,
}

impl BuildSpec {
    /// What the derivation needs of a machine: its system, its
    /// `requiredSystemFeatures`, and `ca-derivations` where an output's path is
    /// not known before the build (Nix requires it silently).
    pub(crate) fn needs(&self) -> Needs {
        let mut features = required_features(&self.derivation);
        if self
            .derivation
            .outputs
            .values()
            .any(|output| output.path.is_none())
        {
            features.insert("ca-derivations".to_owned());
        }
        Needs {
            system: self.derivation.system.clone(),
            features,
        }
    }
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

/// Whether a build waits, runs or has ended.
#[derive(Debug, Clone)]
pub(crate) enum Stage {
    /// No attempt runs, for this reason.
    Waiting(Arc<str>),
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

/// What came of a build.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The outcome.
    pub(crate) result: BuildResult,
    /// Infos of the valid outputs, by output name.
    pub(crate) outputs: BTreeMap<String, PathInfo>,
    /// Where it ran, if anywhere.
    pub(crate) machine: Option<MachineId>,
    /// Keeps the outputs on the machine, and gives their NARs.
    pub(crate) held: Option<HeldOutputs>,
}
