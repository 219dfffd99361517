//! The arguments of `SetOptions`: what the client's settings are.
//!
//! ```text
//! options = keep failed, keep going, fallback, verbosity, max jobs,
//!           max silent time, 1, verbose build (0 if so), 0, 0, cores,
//!           use substitutes, count, (name, value)*
//! ```

use std::collections::BTreeMap;

use super::message::Level;
use crate::types::Text;
use crate::wire::{DecodeError, Decoder, Encoder};

/// Settings of a client's that it wants the server to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Keep the directory of a failed build.
    pub keep_failed: bool,
    /// Go on after a failure as far as possible.
    pub keep_going: bool,
    /// Build what could not be substituted.
    pub try_fallback: bool,
    /// What to send messages of.
    pub verbosity: Level,
    /// How many builds to run at once.
    pub max_build_jobs: u64,
    /// Seconds after which a silent build is stopped; 0 for never.
    pub max_silent_time: u64,
    /// Send the build logs as they are written.
    pub verbose_build: bool,
    /// Cores a build may use; 0 for all.
    pub build_cores: u64,
    /// Whether to substitute at all.
    pub use_substitutes: bool,
    /// Further settings by name, each as text.
    pub overrides: BTreeMap<String, Text>,
}

impl Default for Options {
    /// What an unconfigured Nix has.
    fn default() -> Self {
        Self {
            keep_failed: false,
            keep_going: false,
            try_fallback: false,
            verbosity: Level::INFO,
            max_build_jobs: 1,
            max_silent_time: 0,
            verbose_build: true,
            build_cores: 0,
            use_substitutes: true,
            overrides: BTreeMap::new(),
        }
    }
}

impl Options {
    pub(super) fn encode(&self, to: &mut Encoder) {
        to.bool(self.keep_failed);
        to.bool(self.keep_going);
        to.bool(self.try_fallback);
        to.u64(self.verbosity.0);
        to.u64(self.max_build_jobs);
        to.u64(self.max_silent_time);
        // Whether to use the build hook: obsolete, and always so.
        to.u64(1);
        // The level at which to send build logs.
        to.u64(if self.verbose_build {
            Level::ERROR.0
        } else {
            Level::VOMIT.0
        });
        // The type of log and whether to trace builds: obsolete.
        to.u64(0);
        to.u64(0);
        to.u64(self.build_cores);
        to.bool(self.use_substitutes);
        to.count(self.overrides.len());
        for (name, value) in &self.overrides {
            to.string(name);
            to.bytes(value.as_bytes());
        }
    }

    pub(super) async fn decode(from: &mut Decoder) -> Result<Self, DecodeError> {
        let keep_failed = from.bool("keep failed").await?;
        let keep_going = from.bool("keep going").await?;
        let try_fallback = from.bool("fallback").await?;
        let verbosity = Level(from.u64("verbosity").await?);
        let max_build_jobs = from.u64("max jobs").await?;
        let max_silent_time = from.u64("max silent time").await?;
        from.u64("use build hook").await?;
        let verbose_build = from.u64("verbose build").await? == Level::ERROR.0;
        from.u64("log type").await?;
        from.u64("print build trace").await?;
        let build_cores = from.u64("build cores").await?;
        let use_substitutes = from.bool("use substitutes").await?;
        let mut overrides = BTreeMap::new();
        for _ in 0..from.count("settings").await? {
            let name = from.short("setting name").await?;
            overrides.insert(name, from.text("setting value").await?);
        }
        Ok(Self {
            keep_failed,
            keep_going,
            try_fallback,
            verbosity,
            max_build_jobs,
            max_silent_time,
            verbose_build,
            build_cores,
            use_substitutes,
            overrides,
        })
    }
}
