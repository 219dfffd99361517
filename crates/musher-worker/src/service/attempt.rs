//! One attempt, from the order to its end. It goes on whoever is connected, and
//! ends when it is dropped.

use std::path::PathBuf;
use std::sync::Arc;

use musher_api::worker as api;
use musher_store::local::{LocalError, LocalStore, TempRoots};
use nix_derivation::StorePath;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, info};

use super::build::{Build, Ended, Order};
use super::busy::{Busy, BusyGuard};
use super::gifts::Gifts;
use super::lease::Lease;
use super::log::{AttemptLog, LogWriter, attempt_log};
use super::slots::{Slot, Slots};

/// How far an attempt is.
#[derive(Debug, Clone)]
pub(super) enum Phase {
    /// It waits.
    Waiting {
        /// Whether for a slot only: its inputs are there.
        supplied: bool,
    },
    /// The build runs.
    Running {
        /// Since when.
        since: Instant,
    },
    /// It cannot begin: these inputs are not valid here.
    Missing(Arc<Vec<StorePath>>),
    /// It is over.
    Ended {
        /// When.
        at: Instant,
        /// How.
        ended: Arc<Ended>,
    },
}

/// What every attempt needs.
#[derive(Clone)]
pub(super) struct Means {
    pub(super) store: Arc<LocalStore>,
    pub(super) build: Arc<dyn Build>,
    pub(super) slots: Slots,
    pub(super) gifts: Gifts,
    /// Counts attempts that have not ended.
    pub(super) running: Busy,
    /// Counts attempts that are there.
    pub(super) kept: Busy,
    /// Told where space ran out.
    pub(super) full: Arc<Notify>,
}

/// What one attempt is to do.
pub(super) struct Job {
    pub(super) lease: Lease,
    pub(super) order: Order,
    /// How many its coordinator has run at once.
    pub(super) slots: Option<u32>,
    /// Keeps its inputs and outputs.
    pub(super) roots: Arc<TempRoots>,
    /// Where its log goes.
    pub(super) log: PathBuf,
    /// What must have ended before it begins.
    pub(super) after: Vec<Arc<Attempt>>,
}

/// An attempt.
pub(super) struct Attempt {
    pub(super) drv_path: StorePath,
    /// Of its order.
    pub(super) digest: [u8; 32],
    pub(super) begun: Instant,
    pub(super) log: AttemptLog,
    phase: watch::Receiver<Phase>,
    cancelled: CancellationToken,
    _roots: Arc<TempRoots>,
    _kept: BusyGuard,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        // Its task tidies up, and ends.
        self.cancelled.cancel();
    }
}

impl Attempt {
    /// Begins one.
    pub(super) fn start(means: Means, job: Job) -> Arc<Self> {
        let (writer, log) = attempt_log(job.log.clone());
        let (phase, watcher) = watch::channel(Phase::Waiting { supplied: false });
        let cancelled = CancellationToken::new();
        let (drv_path, digest) = (job.order.drv_path.clone(), job.order.digest());
        let roots = job.roots.clone();
        let (running, kept) = (means.running.enter(), means.kept.enter());
        let cancel = cancelled.clone();
        tokio::spawn(async move {
            run(means, job, writer, phase, cancel).await;
            drop(running);
        });
        Arc::new(Self {
            drv_path,
            digest,
            begun: Instant::now(),
            log,
            phase: watcher,
            cancelled,
            _roots: roots,
            _kept: kept,
        })
    }

    /// How far it is, to be watched.
    pub(super) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.clone()
    }

    /// Whether nothing more will happen.
    pub(super) fn is_over(&self) -> bool {
        match *self.phase.borrow() {
            Phase::Waiting { .. } | Phase::Running { .. } => false,
            Phase::Missing(_) | Phase::Ended { .. } => true,
        }
    }

    /// Whether a new attempt of the same order would do what this one does.
    /// One that still waits for inputs may wait for somebody's who has gone.
    pub(super) fn can_be_shared(&self) -> bool {
        if self.cancelled.is_cancelled() {
            return false;
        }
        match &*self.phase.borrow() {
            Phase::Waiting { supplied } => *supplied,
            Phase::Running { .. } => true,
            Phase::Missing(_) => false,
            Phase::Ended { ended, .. } => ended.result.status.is_success(),
        }
    }

    /// What ends it with its own drop.
    pub(super) fn cancelled_with(&self) -> DropGuard {
        self.cancelled.clone().drop_guard()
    }

    /// Ends it; see [`Self::over`] for when that is done.
    pub(super) fn cancel(&self) {
        self.cancelled.cancel();
    }

    /// Waits until it is over, and no process of it is left.
    pub(super) async fn over(&self) {
        let is_over = |phase: &Phase| match phase {
            Phase::Waiting { .. } | Phase::Running { .. } => false,
            Phase::Missing(_) | Phase::Ended { .. } => true,
        };
        // An error says that the task is gone, and all of it with it.
        let _ = self.phase().wait_for(is_over).await;
    }
}

async fn run(
    means: Means,
    job: Job,
    mut log: LogWriter,
    phase: watch::Sender<Phase>,
    cancelled: CancellationToken,
) {
    let lease = job.lease.clone();
    let mut slot = None;
    let end = tokio::select! {
        biased;
        () = cancelled.cancelled() => None,
        end = work(&means, job, &mut slot, &mut log, &phase) => Some(end),
    };
    let end = match end {
        Some(end) => end,
        None => {
            if let Some(slot) = &slot {
                means.build.vacated(slot.number()).await;
            }
            debug!(%lease, "attempt cancelled");
            over(Ended::fault(api::Fault::Cancelled, "it was cancelled"))
        }
    };
    drop(slot);
    // Readers of the log learn that it is complete before they learn the end.
    drop(log);
    if let Phase::Ended { ended, .. } = &end {
        info!(%lease, status = ?ended.result.status, fault = ?ended.fault, "attempt ended");
        if ended.fault == api::Fault::DiskFull {
            means.full.notify_one();
        }
    }
    phase.send_replace(end);
}

fn over(ended: Ended) -> Phase {
    Phase::Ended {
        at: Instant::now(),
        ended: Arc::new(ended),
    }
}

async fn work(
    means: &Means,
    mut job: Job,
    slot: &mut Option<Slot>,
    log: &mut LogWriter,
    phase: &watch::Sender<Phase>,
) -> Phase {
    for before in std::mem::take(&mut job.after) {
        before.over().await;
    }
    means.gifts.settled(&job.lease).await;
    let order = Arc::new(job.order);
    match missing(means, &order, &job.roots).await {
        Ok(missing) if missing.is_empty() => {}
        Ok(missing) => return Phase::Missing(Arc::new(missing)),
        Err(error) => return over(stopped_by_store(&error)),
    }
    phase.send_replace(Phase::Waiting { supplied: true });
    let slot = slot.insert(means.slots.take(job.slots).await);
    phase.send_replace(Phase::Running {
        since: Instant::now(),
    });
    let ended = means.build.build(&order, slot.number(), log).await;
    // The others were protected before the build.
    let found = (ended.outputs.values()).map(|info| info.path.clone());
    let (found, roots): (Vec<_>, _) = (found.collect(), job.roots.clone());
    // It may have to wait for a garbage collector.
    match crate::service::blocking(move || roots.add_all(&found)).await {
        Ok(()) => over(ended),
        Err(error) => over(stopped_by_store(&error)),
    }
}

fn stopped_by_store(error: &LocalError) -> Ended {
    let fault = match error.is_disk_full() {
        true => api::Fault::DiskFull,
        false => api::Fault::Ours,
    };
    Ended::fault(fault, crate::service::error_text(error))
}

/// Protects what the build needs and makes, and then looks which of its inputs
/// are not there. What they refer to is there if they are.
async fn missing(
    means: &Means,
    order: &Arc<Order>,
    roots: &Arc<TempRoots>,
) -> Result<Vec<StorePath>, LocalError> {
    let (store, order, roots) = (means.store.clone(), order.clone(), roots.clone());
    let look = move || {
        let derivation = &order.derivation;
        let outputs = derivation.outputs.values();
        let outputs = outputs.filter_map(|output| output.path.as_ref());
        roots.add_all(derivation.input_sources.iter().chain(outputs))?;
        let valid = store.valid_paths(&derivation.input_sources)?;
        let missing = derivation.input_sources.difference(&valid);
        Ok(missing.cloned().collect())
    };
    crate::service::blocking(look).await
}

#[cfg(test)]
mod tests {
    use std::io;

    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_full_disk_that_stops_an_attempt_is_told_as_one() {
        let fault = |errno: Errno| {
            let error = LocalError::Io {
                attempt: "write",
                path: "/x".into(),
                source: io::Error::from(errno),
            };
            stopped_by_store(&error).fault
        };
        assert_eq!(fault(Errno::NOSPC), api::Fault::DiskFull);
        assert_eq!(fault(Errno::MFILE), api::Fault::Ours);
    }
}
