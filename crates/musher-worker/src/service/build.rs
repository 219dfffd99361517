//! What the service needs of whoever builds: an order in, an end out. The
//! executor is one; tests have another that does what they say.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use musher_api::{coordinator, worker as api};
use musher_protocol::types::{BasicDerivation, BuildMode, BuildResult, BuildStatus, PathInfo};
use nix_derivation::StorePath;
use sha2::{Digest, Sha256};

use super::log::LogWriter;

/// What is to be built, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The derivation's path.
    pub drv_path: StorePath,
    /// The derivation without its input derivations.
    pub derivation: BasicDerivation,
    /// What to do about outputs that exist.
    pub mode: BuildMode,
    /// When it is stopped.
    pub limits: Limits,
    /// `NIX_BUILD_CORES`; 0 for all of the machine's.
    pub cores: u32,
    /// What the build sees besides its inputs, as in `sandbox-paths`.
    pub sandbox_paths: Vec<String>,
    /// Whether the build directory of a failed build is kept.
    pub keep_failed: bool,
}

/// Limits on one build; none where nothing limits it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// The longest time without a byte of log.
    pub max_silent: Option<Duration>,
    /// The longest time from start to end.
    pub timeout: Option<Duration>,
    /// The longest log, in bytes.
    pub max_log: Option<u64>,
}

/// How a build ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The outcome.
    pub result: BuildResult,
    /// Infos of the valid outputs, by output name.
    pub outputs: BTreeMap<String, PathInfo>,
    /// What it used, if it ran.
    pub usage: Option<coordinator::Usage>,
    /// Whose fault it is, where not the build's own.
    pub fault: api::Fault,
    /// What there is to say of a fault, for people.
    pub fault_text: String,
    /// Where its build directory was kept.
    pub kept: Option<PathBuf>,
}

/// Whoever builds.
#[async_trait]
pub trait Build: Send + Sync {
    /// Builds, in slot number `slot`, which no other build has meanwhile, and
    /// writes the build's log as it comes. The inputs are valid, and kept from
    /// the garbage collector. Dropping the future ends every process of the
    /// build.
    async fn build(&self, order: &Order, slot: u32, log: &mut LogWriter) -> Ended;

    /// Waits until nothing is left of a build whose future was dropped.
    async fn vacated(&self, slot: u32);
}

impl Order {
    /// Equal for equal orders, and for no others.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        // `Debug` of ordered collections of plain values is injective and
        // stable within one process, which is all that is needed.
        hasher.update(format!("{self:?}"));
        hasher.finalize().into()
    }
}

impl Ended {
    /// A build that came to nothing for a reason that is not its own.
    pub fn fault(fault: api::Fault, text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            result: BuildResult::new(BuildStatus::MiscFailure, text.clone()),
            outputs: BTreeMap::new(),
            usage: None,
            fault,
            fault_text: text,
            kept: None,
        }
    }
}
