//! What the executor is told to build.

use musher_protocol::types::{BasicDerivation, BuildMode};
use musher_sandbox::Bind;
use nix_derivation::StorePath;

use super::Limits;

/// One build to do. Its inputs are valid in the executor's store.
#[derive(Debug, Clone)]
pub struct BuildOrder {
    /// Where the derivation is; it need not be valid.
    pub drv_path: StorePath,
    /// The derivation.
    pub derivation: BasicDerivation,
    /// What to do about outputs that are valid.
    pub mode: BuildMode,
    /// What the build may not exceed.
    pub limits: Limits,
    /// What `NIX_BUILD_CORES` says; none for as many as the executor has.
    pub cores: Option<u32>,
    /// Whether the build directory of a failed build is kept.
    pub keep_failed: bool,
    /// What the build sees of the machine besides what every build sees.
    pub sandbox_paths: Vec<Bind>,
}
