//! The arguments of `CollectGarbage`.
//!
//! ```text
//! garbage = action, paths, ignore liveness, max freed, 0, 0, 0
//! paths   = set of path
//!         | 1                               with delete-dead-specific-referrers
//!         | 0, set of path, with referrers
//! ```

use std::collections::BTreeSet;

use nix_derivation::StorePath;

use super::Feature;
use super::version::Dialect;
use crate::wire::{DecodeError, Decoder, Encoder};

/// What to do with the paths of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GarbageAction {
    /// Name the live ones.
    ReturnLive = 0,
    /// Name the dead ones.
    ReturnDead = 1,
    /// Delete the dead ones.
    DeleteDead = 2,
    /// Delete the given ones, if they are dead.
    DeleteSpecific = 3,
}

/// Which paths it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GarbagePaths {
    /// All of the store.
    WholeStore,
    /// Some.
    Specific {
        /// These.
        paths: BTreeSet<StorePath>,
        /// And what refers to them.
        with_referrers: bool,
    },
}

/// A run of the garbage collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GarbageRun {
    /// What to do.
    pub action: GarbageAction,
    /// With which paths.
    pub paths: GarbagePaths,
    /// Whether to delete what is alive; servers refuse it.
    pub ignore_liveness: bool,
    /// Bytes after which to stop.
    pub max_freed: u64,
}

impl GarbageRun {
    /// What the dialect cannot say of it, if anything.
    pub(super) fn unsupported(&self, dialect: &Dialect) -> Option<&'static str> {
        if dialect.offers(Feature::DeleteDeadSpecificReferrers) {
            return None;
        }
        let is_specific = self.action == GarbageAction::DeleteSpecific;
        match &self.paths {
            GarbagePaths::WholeStore => {
                is_specific.then_some("deleting all paths as specific ones")
            }
            GarbagePaths::Specific { with_referrers, .. } if *with_referrers => {
                Some("deleting paths with their referrers")
            }
            GarbagePaths::Specific { .. } => {
                (!is_specific).then_some("collecting garbage among given paths")
            }
        }
    }

    pub(super) fn encode(&self, dialect: &Dialect, to: &mut Encoder) {
        to.u64(self.action as u64);
        let tagged = dialect.offers(Feature::DeleteDeadSpecificReferrers);
        match &self.paths {
            GarbagePaths::WholeStore => {
                // One whole store, or no specific path.
                to.u64(u64::from(tagged));
            }
            GarbagePaths::Specific {
                paths,
                with_referrers,
            } => {
                if tagged {
                    to.u64(0);
                }
                to.paths(paths);
                if tagged {
                    to.bool(*with_referrers);
                }
            }
        }
        to.bool(self.ignore_liveness);
        to.u64(self.max_freed);
        // Obsolete.
        to.u64(0);
        to.u64(0);
        to.u64(0);
    }

    pub(super) async fn decode(dialect: &Dialect, from: &mut Decoder) -> Result<Self, DecodeError> {
        let action = action(from).await?;
        let paths = if dialect.offers(Feature::DeleteDeadSpecificReferrers) {
            tagged_paths(from).await?
        } else {
            let paths: BTreeSet<_> = from.paths("paths to delete").await?;
            if paths.is_empty() && action != GarbageAction::DeleteSpecific {
                GarbagePaths::WholeStore
            } else {
                GarbagePaths::Specific {
                    paths,
                    with_referrers: false,
                }
            }
        };
        let run = Self {
            action,
            paths,
            ignore_liveness: from.bool("ignore liveness").await?,
            max_freed: from.u64("max freed").await?,
        };
        for _ in 0..3 {
            from.u64("obsolete garbage option").await?;
        }
        Ok(run)
    }
}

async fn action(from: &mut Decoder) -> Result<GarbageAction, DecodeError> {
    const FIELD: &str = "garbage action";
    let offset = from.offset();
    match from.u64(FIELD).await? {
        0 => Ok(GarbageAction::ReturnLive),
        1 => Ok(GarbageAction::ReturnDead),
        2 => Ok(GarbageAction::DeleteDead),
        3 => Ok(GarbageAction::DeleteSpecific),
        other => Err(from.error(FIELD, offset, "a number from 0 to 3", other.to_string())),
    }
}

async fn tagged_paths(from: &mut Decoder) -> Result<GarbagePaths, DecodeError> {
    const FIELD: &str = "whole store";
    let offset = from.offset();
    match from.u64(FIELD).await? {
        0 => Ok(GarbagePaths::Specific {
            paths: from.paths("paths to delete").await?,
            with_referrers: from.bool("delete referrers").await?,
        }),
        1 => Ok(GarbagePaths::WholeStore),
        other => Err(from.error(FIELD, offset, "0 or 1", other.to_string())),
    }
}
