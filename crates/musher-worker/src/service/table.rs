//! Which leases there are, and what each has: a part in an attempt, and paths
//! that are kept. Decides nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use musher_store::local::TempRoots;
use nix_derivation::StorePath;
use tokio::time::Instant;
use tokio_util::sync::DropGuard;

use super::attempt::Attempt;
use super::lease::Lease;

/// Orders whose newest lease is remembered after its attempt went.
const MOST_REMEMBERED: usize = 20_000;

/// A lease's part in an attempt. The last of them cancels it when it goes.
#[derive(Clone)]
pub(super) struct Share {
    pub(super) attempt: Arc<Attempt>,
    _wanted: Arc<DropGuard>,
}

/// What keeps paths for a lease, whether it has an attempt or not.
pub(super) struct Held {
    pub(super) roots: Arc<TempRoots>,
    pub(super) since: Instant,
}

/// What a lease had that is let go. Files may be removed with it.
pub(super) struct Gone {
    _share: Option<Share>,
    _held: Option<Held>,
}

/// An order of one coordinator's, by its digest.
type Wish = (Arc<str>, [u8; 32]);

/// All leases of a worker.
#[derive(Default)]
pub(super) struct Table {
    shares: BTreeMap<Lease, Share>,
    /// The leases in `shares`, by derivation.
    by_drv: BTreeMap<StorePath, BTreeSet<Lease>>,
    held: BTreeMap<Lease, Held>,
    newest: BTreeMap<Wish, u64>,
    /// The keys of `newest`, oldest first.
    remembered: VecDeque<Wish>,
}

impl Share {
    /// The first part in `attempt`.
    pub(super) fn first(attempt: Arc<Attempt>) -> Self {
        let wanted = Arc::new(attempt.cancelled_with());
        Self {
            attempt,
            _wanted: wanted,
        }
    }
}

impl Table {
    /// The attempt that `lease` has a part in.
    pub(super) fn attempt(&self, lease: &Lease) -> Option<&Arc<Attempt>> {
        self.shares.get(lease).map(|share| &share.attempt)
    }

    /// All parts in attempts, by lease.
    pub(super) fn attempts(&self) -> impl Iterator<Item = (&Lease, &Arc<Attempt>)> {
        (self.shares.iter()).map(|(lease, share)| (lease, &share.attempt))
    }

    /// All parts in attempts of the derivation at `drv`.
    pub(super) fn shares_of(&self, drv: &StorePath) -> impl Iterator<Item = &Share> {
        let leases = self.by_drv.get(drv).into_iter().flatten();
        leases.filter_map(|lease| self.shares.get(lease))
    }

    /// The newest lease under which `owner` has given the order of this
    /// digest.
    pub(super) fn newest(&self, owner: &Arc<str>, digest: [u8; 32]) -> Option<u64> {
        self.newest.get(&(owner.clone(), digest)).copied()
    }

    /// What keeps paths for `lease`.
    pub(super) fn held(&self, lease: &Lease) -> Option<&Arc<TempRoots>> {
        self.held.get(lease).map(|held| &held.roots)
    }

    /// Leases that have no attempt, and since when paths are kept for them.
    pub(super) fn only_held(&self) -> impl Iterator<Item = (&Lease, Instant)> {
        (self.held.iter())
            .filter(|(lease, _)| !self.shares.contains_key(lease))
            .map(|(lease, held)| (lease, held.since))
    }

    /// Every lease of `owner`'s.
    pub(super) fn of_owner(&self, owner: &str) -> BTreeSet<&Lease> {
        (self.shares.keys().chain(self.held.keys()))
            .filter(|lease| *lease.owner == *owner)
            .collect()
    }

    /// Whether `owner` has a part in any attempt.
    pub(super) fn has_any(&self, owner: &Arc<str>) -> bool {
        let first = Lease {
            owner: owner.clone(),
            number: 0,
        };
        let next = self.shares.range(first..).next();
        next.is_some_and(|(lease, _)| lease.owner == *owner)
    }

    /// Gives `lease`, which has none, a part in an attempt.
    pub(super) fn share(&mut self, lease: Lease, share: Share) {
        let attempt = &share.attempt;
        let wish = (lease.owner.clone(), attempt.digest);
        if self.newest.insert(wish.clone(), lease.number).is_none() {
            self.remembered.push_back(wish);
        }
        while self.remembered.len() > MOST_REMEMBERED {
            let oldest = self.remembered.pop_front();
            oldest.map(|wish| self.newest.remove(&wish));
        }
        let leases = self.by_drv.entry(attempt.drv_path.clone()).or_default();
        leases.insert(lease.clone());
        self.shares.insert(lease, share);
    }

    /// Keeps paths for `lease` by `roots`.
    pub(super) fn hold(&mut self, lease: Lease, roots: Arc<TempRoots>) {
        let since = Instant::now();
        self.held.insert(lease, Held { roots, since });
    }

    /// Takes all that `lease` has.
    pub(super) fn remove(&mut self, lease: &Lease) -> Gone {
        let share = self.shares.remove(lease);
        if let Some(drv) = share.as_ref().map(|share| &share.attempt.drv_path)
            && let Some(leases) = self.by_drv.get_mut(drv)
        {
            leases.remove(lease);
            if leases.is_empty() {
                self.by_drv.remove(drv);
            }
        }
        Gone {
            _share: share,
            _held: self.held.remove(lease),
        }
    }
}
