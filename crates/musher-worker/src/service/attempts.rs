//! All attempts of this worker, by lease: which there are, which are refused,
//! taken over or let go. Decides nothing about how one is made.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use musher_store::local::{LocalError, TempRoots};
use nix_derivation::StorePath;
use tokio::time::Instant;
use tracing::{debug, info};

use super::attempt::{Attempt, Job, Means, Phase};
use super::build::Order;
use super::lease::Lease;
use super::owners::Owners;
use super::table::{Share, Table};

/// How long what belongs to a coordinator that went away is kept.
pub(super) const KEPT: Duration = Duration::from_secs(60 * 60);

/// Attempts that ended and were not released. A coordinator releases each; this
/// bounds what one costs that does not.
const MOST_KEPT: usize = 4096;

/// Why an attempt is not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// The coordinator gave the same order again before.
    #[error("lease {lease} is older than {newest}, the newest for `{drv}`")]
    Older {
        lease: Lease,
        newest: u64,
        drv: StorePath,
    },
    /// There is no such attempt, and nothing to make one of.
    #[error("no attempt has lease {lease} here")]
    Unknown { lease: Lease },
    /// The worker is about to end.
    #[error("this worker ends, a newer one follows")]
    Retiring,
    /// The store refused.
    #[error("cannot keep the build's inputs")]
    Store(#[source] LocalError),
}

/// A request for an attempt.
pub(super) struct Asked {
    pub(super) lease: Lease,
    pub(super) order: Option<Order>,
    pub(super) slots: Option<u32>,
    /// Whether only what is there can be had.
    pub(super) retiring: bool,
}

/// The attempts.
pub(super) struct Attempts {
    means: Means,
    owners: Owners,
    /// Where logs lie.
    logs: PathBuf,
    /// Numbers them.
    last_log: AtomicU64,
    table: Mutex<Table>,
}

impl Attempts {
    pub(super) fn new(means: Means, owners: Owners, logs: PathBuf) -> Self {
        Self {
            means,
            owners,
            logs,
            last_log: AtomicU64::new(0),
            table: Mutex::default(),
        }
    }

    /// The attempt that is asked for: found, shared with those who asked
    /// before, or begun. A new one begins when those of other orders for the
    /// same derivation are over: they would be in each other's way.
    pub(super) fn attempt(&self, asked: Asked) -> Result<Arc<Attempt>, Refusal> {
        let lease = asked.lease;
        let mut table = self.lock();
        if let Some(attempt) = table.attempt(&lease) {
            return Ok(attempt.clone());
        }
        let Some(order) = asked.order else {
            return Err(Refusal::Unknown { lease });
        };
        let digest = order.digest();
        let newest = table.newest(&lease.owner, digest);
        if let Some(newest) = newest.filter(|newest| *newest > lease.number) {
            let drv = order.drv_path;
            return Err(Refusal::Older { lease, newest, drv });
        }
        let others: Vec<Share> = table.shares_of(&order.drv_path).cloned().collect();
        let fits = |attempt: &Attempt| attempt.digest == digest && attempt.can_be_shared();
        if let Some(share) = others.iter().find(|share| fits(&share.attempt)) {
            info!(%lease, "attempt shared");
            let attempt = share.attempt.clone();
            table.share(lease, share.clone());
            return Ok(attempt);
        }
        // What is kept for those who are there keeps this worker here. They
        // would not let go of it as long as they cannot go on.
        let is_needed = self.owners.is_present(&lease.owner) && table.has_any(&lease.owner);
        if asked.retiring && !is_needed {
            return Err(Refusal::Retiring);
        }
        let after = (others.into_iter())
            .map(|share| share.attempt)
            .filter(|attempt| !attempt.is_over())
            .collect();
        let roots = self.hold(&mut table, &lease).map_err(Refusal::Store)?;
        let log = self.last_log.fetch_add(1, Ordering::Relaxed);
        let job = Job {
            lease: lease.clone(),
            slots: asked.slots,
            roots,
            log: self.logs.join(format!("{log}.log")),
            after,
            order,
        };
        let attempt = Attempt::start(self.means.clone(), job);
        table.share(lease, Share::first(attempt.clone()));
        Ok(attempt)
    }

    /// What keeps paths for `lease` until it is released.
    pub(super) fn roots(&self, lease: &Lease) -> Result<Arc<TempRoots>, LocalError> {
        self.hold(&mut self.lock(), lease)
    }

    fn hold(&self, table: &mut Table, lease: &Lease) -> Result<Arc<TempRoots>, LocalError> {
        if let Some(roots) = table.held(lease) {
            return Ok(roots.clone());
        }
        let roots = Arc::new(self.means.store.temp_roots()?);
        table.hold(lease.clone(), roots.clone());
        Ok(roots)
    }

    /// Ends those of `leases` that run, and waits until nothing of them is
    /// left. Where another lease has a part in an attempt, only theirs ends.
    pub(super) async fn cancel(&self, leases: &[Lease]) {
        let leases: BTreeSet<&Lease> = leases.iter().collect();
        let mut ours = Vec::new();
        let mut theirs = Vec::new();
        {
            let mut table = self.lock();
            for lease in &leases {
                let Some(attempt) = table.attempt(lease).cloned() else {
                    continue;
                };
                let is_another = |(other, found): (&Lease, &Arc<Attempt>)| {
                    Arc::ptr_eq(found, &attempt) && !leases.contains(other)
                };
                if table.attempts().any(is_another) {
                    theirs.push(table.remove(lease));
                } else {
                    ours.push(attempt);
                }
            }
        }
        // Files are removed without the lock.
        drop(theirs);
        for attempt in &ours {
            attempt.cancel();
        }
        for attempt in &ours {
            attempt.over().await;
        }
    }

    /// Lets go of `leases` and all that is kept for them. What runs for nobody
    /// else is cancelled.
    pub(super) fn release<'a>(&self, leases: impl IntoIterator<Item = &'a Lease>) {
        let mut table = self.lock();
        let gone: Vec<_> = (leases.into_iter())
            .map(|lease| table.remove(lease))
            .collect();
        // Files are removed without the lock.
        drop(table);
        drop(gone);
    }

    /// Leases of `owner`'s that are not among those it wants.
    pub(super) fn unwanted(&self, owner: &str, wanted: &BTreeSet<u64>) -> BTreeSet<Lease> {
        let table = self.lock();
        (table.of_owner(owner).into_iter())
            .filter(|lease| !wanted.contains(&lease.number))
            .cloned()
            .collect()
    }

    /// Lets go of what was kept for coordinators that have been away for too
    /// long, and of the oldest that is kept beyond all bounds. What runs goes
    /// on.
    pub(super) fn sweep(&self, now: Instant) {
        let table = self.lock();
        let away = |lease: &Lease, since| {
            let absence = self.owners.absence(&lease.owner, since, now);
            absence.is_some_and(|absence| absence >= KEPT)
        };
        let mut over = BTreeMap::new();
        for (lease, attempt) in table.attempts() {
            let at = match &*attempt.phase().borrow() {
                Phase::Waiting { .. } | Phase::Running { .. } => continue,
                Phase::Missing(_) => attempt.begun,
                Phase::Ended { at, .. } => *at,
            };
            over.insert((at, lease), away(lease, at));
        }
        let surplus = over.len().saturating_sub(MOST_KEPT);
        let mut gone: Vec<Lease> = (over.into_iter().enumerate())
            .filter(|(rank, (_, away))| *away || *rank < surplus)
            .map(|(_, ((_, lease), _))| lease.clone())
            .collect();
        gone.extend(
            (table.only_held())
                .filter(|(lease, since)| away(lease, *since))
                .map(|(lease, _)| lease.clone()),
        );
        drop(table);
        if !gone.is_empty() {
            debug!(leases = gone.len(), "kept for long enough");
            self.release(&gone);
        }
    }

    /// Every part in an attempt, by lease.
    pub(super) fn all(&self) -> Vec<(Lease, Arc<Attempt>)> {
        let table = self.lock();
        let all = table.attempts();
        all.map(|(lease, attempt)| (lease.clone(), attempt.clone()))
            .collect()
    }

    /// How many run or wait for a slot.
    pub(super) fn active(&self) -> usize {
        let table = self.lock();
        let active = table.attempts().filter(|(_, attempt)| !attempt.is_over());
        // An attempt has as many leases as there are who want it.
        let active: BTreeSet<_> = active.map(|(_, attempt)| Arc::as_ptr(attempt)).collect();
        active.len()
    }

    /// Whether a coordinator that is there has not let go of everything.
    pub(super) fn are_kept_for_present(&self) -> bool {
        let table = self.lock();
        let owners: BTreeSet<_> = table.attempts().map(|(lease, _)| &lease.owner).collect();
        owners.iter().any(|owner| self.owners.is_present(owner))
    }

    /// Ends everything, and waits until nothing of it is left.
    pub(super) async fn stop(&self) {
        let leases: Vec<_> = self.all().into_iter().map(|(lease, _)| lease).collect();
        self.cancel(&leases).await;
        self.release(&leases);
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
