//! What the trial program is told, and what it tells.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What is to be built, one derivation after the other.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Order {
    /// The root of the store.
    pub(crate) store: PathBuf,
    /// Where build directories are made.
    pub(crate) builds: PathBuf,
    /// The derivations, each after its inputs: files named as in a store.
    pub(crate) derivations: Vec<PathBuf>,
    /// Texts to add to the store first, by name.
    pub(crate) texts: BTreeMap<String, String>,
    /// What builds see of the machine, as in `sandbox-paths`.
    pub(crate) sandbox_paths: Vec<String>,
    /// Programs of the machine that builds see, by their place for the build.
    pub(crate) programs: BTreeMap<PathBuf, PathBuf>,
    /// The machine's features.
    pub(crate) features: BTreeSet<String>,
    /// `normal`, `check` or `repair`.
    pub(crate) mode: String,
    /// `NIX_BUILD_CORES`.
    pub(crate) cores: Option<u32>,
    /// Limits, in milliseconds.
    pub(crate) max_silent: Option<u64>,
    pub(crate) timeout: Option<u64>,
    /// The most bytes of log.
    pub(crate) max_log: Option<u64>,
    /// Bytes that must stay free on the store's disk.
    pub(crate) disk_reserve: Option<u64>,
    pub(crate) keep_failed: bool,
    /// Whether there is no sandbox.
    pub(crate) bare: bool,
    /// The build is cancelled when its log has this line.
    pub(crate) cancel_at: Option<String>,
}

/// What came of one derivation.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Came {
    /// The derivation, absolute.
    pub(crate) derivation: String,
    /// The class of its end; empty if it was cancelled.
    pub(crate) status: String,
    /// What a client is told.
    pub(crate) error: String,
    /// Whose fault a failure is.
    pub(crate) fault: Option<String>,
    /// Its log, a line each; phases as `@phase NAME`.
    pub(crate) log: Vec<String>,
    /// Its outputs.
    pub(crate) outputs: BTreeMap<String, Output>,
    /// How its usage was measured.
    pub(crate) accounting: String,
    /// CPU time, in microseconds.
    pub(crate) cpu: u128,
    /// The most memory.
    pub(crate) peak_memory: Option<u64>,
    /// How the build program ended.
    pub(crate) exit: Option<String>,
    pub(crate) sandboxed: bool,
    pub(crate) kept: Option<PathBuf>,
}

/// One output.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Output {
    /// Its path, absolute.
    pub(crate) path: String,
    /// The hash of its NAR, in base 16.
    pub(crate) nar_hash: String,
    pub(crate) nar_size: u64,
    pub(crate) references: BTreeSet<String>,
    pub(crate) ca: Option<String>,
}
