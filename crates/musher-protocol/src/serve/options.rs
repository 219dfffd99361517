//! The options of one build. Knows nothing of what is built.

use super::Version;
use crate::wire::{DecodeError, Decoder, Encoder};

/// How a build is to be run. What a version has no room for is left at its
/// default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BuildOptions {
    /// Seconds a build may be silent; 0 is without limit.
    pub max_silent: u64,
    /// Seconds a build may run; 0 is without limit.
    pub timeout: u64,
    /// Bytes a build may log; 0 is without limit. From 2.2.
    pub max_log_size: u64,
    /// How often to build again and compare. From 2.3; newer Nix refuses
    /// all but 0.
    pub nr_repeats: u64,
    /// Whether a difference between repetitions is a failure. From 2.3.
    pub enforce_determinism: bool,
    /// Whether to keep the directory of a failed build. From 2.7.
    pub keep_failed: bool,
}

impl BuildOptions {
    /// Reads the options as `version` has them.
    pub async fn decode(d: &mut Decoder, version: Version) -> Result<Self, DecodeError> {
        let mut options = Self {
            max_silent: d.u64("maximum silence").await?,
            timeout: d.u64("timeout").await?,
            ..Self::default()
        };
        if version.minor() >= 2 {
            options.max_log_size = d.u64("maximum log size").await?;
        }
        if version.minor() >= 3 {
            options.nr_repeats = d.u64("repetitions").await?;
            options.enforce_determinism = d.bool("enforce determinism").await?;
        }
        if version.minor() >= 7 {
            options.keep_failed = d.bool("keep failed").await?;
        }
        Ok(options)
    }

    /// Writes the options as `version` has them.
    pub fn encode(&self, e: &mut Encoder, version: Version) {
        e.u64(self.max_silent);
        e.u64(self.timeout);
        if version.minor() >= 2 {
            e.u64(self.max_log_size);
        }
        if version.minor() >= 3 {
            e.u64(self.nr_repeats);
            e.bool(self.enforce_determinism);
        }
        if version.minor() >= 7 {
            e.bool(self.keep_failed);
        }
    }
}
