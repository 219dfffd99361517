//! What a build that ran came to: its outputs are taken, or its failure is
//! classed. Blocks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use musher_protocol::types::{BuildResult, BuildStatus, BuiltOutput, PathInfo};
use musher_sandbox::{Cut, Ended, SandboxError, Usage};

use super::error::BuildError;
use super::prepare::Facts;
use super::run::Ran;
use super::site::Site;
use super::verdict::{End, Failure, Verdict};
use super::watch::Excess;
use super::{BuildOrder, Fault, Report, Shared};
use crate::outputs::{self, Finished};

/// As little free space, in bytes, as Nix takes for a full disk.
const NEARLY_FULL: u64 = 8 << 20;

/// When a build ran, in seconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) start: u64,
    pub(super) stop: u64,
}

/// The time now, in seconds since 1970.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// A build whose processes are gone.
pub(super) struct Finish<'a> {
    pub(super) shared: &'a Shared,
    pub(super) order: &'a BuildOrder,
    pub(super) facts: &'a Facts,
}

/// How a build failed, and what is told of it.
struct Failed {
    status: BuildStatus,
    fault: Option<Fault>,
    text: String,
}

impl Failed {
    fn of(error: &BuildError) -> Self {
        let (status, fault) = error.class();
        Self {
            status,
            fault,
            text: error.text(),
        }
    }
}

impl Finish<'_> {
    /// What the build came to that `ran`. Nothing of it is left afterwards.
    pub(super) fn finish(self, ran: Ran, span: Span) -> Report {
        let Ran {
            site,
            ended,
            excess,
        } = ran;
        let (usage, exit) = match &ended {
            Ok(ended) => (ended.usage.clone(), Some(ended.status)),
            Err(_) => (Usage::default(), None),
        };
        let mut kept = None;
        let (mut result, fault) = match self.outcome(ended, excess, &site) {
            Ok(built_outputs) => {
                let result = BuildResult {
                    built_outputs,
                    ..BuildResult::new(BuildStatus::Built, "")
                };
                (result, None)
            }
            Err(failed) => {
                // What is tried elsewhere fails there, or not at all.
                if failed.fault.is_none() {
                    kept = self.keep(&site);
                }
                (BuildResult::new(failed.status, failed.text), failed.fault)
            }
        };
        site.clear();
        result.times_built = 1;
        result.non_deterministic = result.status == BuildStatus::NotDeterministic;
        result.start = span.start;
        result.stop = span.stop;
        result.cpu_user = u64::try_from(usage.cpu_user.as_micros()).ok();
        result.cpu_system = u64::try_from(usage.cpu_system.as_micros()).ok();
        Report {
            outputs: infos(self.shared, &result.built_outputs),
            result,
            usage,
            exit,
            fault,
            sandboxed: self.facts.sandboxed,
            kept,
        }
    }

    fn outcome(
        &self,
        ended: Result<Ended, SandboxError>,
        excess: Option<Excess>,
        site: &Site,
    ) -> Result<BTreeMap<String, BuiltOutput>, Failed> {
        if let Some(excess) = excess {
            return Err(self.class(Failure {
                end: End::Stopped(excess),
                disk_full: false,
                out_of_memory: false,
            }));
        }
        let ended = ended.map_err(|source| {
            Failed::of(&BuildError::Sandbox {
                drv: self.shared.render(&self.order.drv_path),
                source,
            })
        })?;
        if ended.cut.is_none() && ended.status.is_success() {
            return self.take(site);
        }
        // Nobody tells whether a build program met the end of the disk; so it
        // is looked at now, as Nix does.
        let disk_full = ended.cut == Some(Cut::DiskReserve)
            || is_full(self.shared.store.real_store_dir())
            || is_full(&site.room().build_dir());
        Err(self.class(Failure {
            end: End::Exited(ended.status),
            disk_full,
            out_of_memory: ended.usage.oom_killed,
        }))
    }

    fn class(&self, failure: Failure) -> Failed {
        let Verdict { status, fault } = failure.verdict(self.facts.kind);
        let store_dir = self.shared.store.store_dir();
        Failed {
            status,
            fault,
            text: failure.text(&self.order.drv_path, &self.order.derivation, store_dir),
        }
    }

    /// Takes the outputs of a build that says it succeeded.
    fn take(&self, site: &Site) -> Result<BTreeMap<String, BuiltOutput>, Failed> {
        let Self {
            shared,
            order,
            facts,
        } = self;
        let owners = facts.ids.map(|ids| ids.uid..=ids.uid);
        let finished = Finished {
            drv_path: &order.drv_path,
            derivation: &order.derivation,
            rules: &facts.rules,
            scratch: &facts.scratch,
            inputs: &facts.inputs,
            roots: site.roots(),
            mode: order.mode,
            keep_failed: order.keep_failed,
            owners: owners.as_ref(),
        };
        match outputs::register_outputs(&shared.store, &finished) {
            Ok(outputs::Verdict::Accepted(outputs)) => Ok(outputs),
            Ok(outputs::Verdict::Rejected(rejection)) => Err(Failed {
                status: rejection.status(),
                fault: None,
                text: rejection.to_string(),
            }),
            Err(source) => Err(Failed::of(&BuildError::Outputs {
                drv: shared.render(&order.drv_path),
                source: Box::new(source),
            })),
        }
    }

    /// Keeps the build directory where that is asked for. Not of a builtin: it
    /// may hold what the machine lent it.
    fn keep(&self, site: &Site) -> Option<PathBuf> {
        if !self.order.keep_failed || self.facts.builtin {
            return None;
        }
        let name = self.order.drv_path.name();
        match self.shared.rooms.keep(site.room(), name) {
            Ok(kept) => Some(kept),
            Err(error) => {
                tracing::warn!(%error, "a build directory was not kept");
                None
            }
        }
    }
}

/// Whether hardly anything can be written to the file system of `path`.
fn is_full(path: &Path) -> bool {
    rustix::fs::statvfs(path).is_ok_and(|found| {
        let no_inodes = found.f_files > 0 && found.f_favail == 0;
        no_inodes || found.f_bavail.saturating_mul(found.f_frsize) < NEARLY_FULL
    })
}

/// What the store knows of `outputs`, which are valid.
pub(super) fn infos(
    shared: &Shared,
    outputs: &BTreeMap<String, BuiltOutput>,
) -> BTreeMap<String, PathInfo> {
    let infos = outputs.iter().filter_map(|(name, output)| {
        let info = shared.store.path_info(&output.path).ok()??;
        Some((name.clone(), info))
    });
    infos.collect()
}
