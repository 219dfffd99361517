//! Which attempts of a worker somebody still wants. What nobody wants any more
//! is let go there: at once if the worker is connected, or else with the next
//! greeting.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use musher_api::worker as api;
use tokio::sync::{Notify, watch};
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use crate::worker::Session;

/// The attempts of one worker.
pub(super) struct Interests {
    shared: Arc<Shared>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Shared {
    leases: Mutex<Leases>,
    changed: Notify,
}

#[derive(Default)]
struct Leases {
    wanted: BTreeSet<u64>,
    /// To be let go.
    unwanted: BTreeSet<u64>,
}

/// The interest in one attempt, and in its outputs. Its drop lets them go, and
/// cancels an attempt that runs.
pub(super) struct Interest {
    shared: Arc<Shared>,
    lease: u64,
}

impl Interests {
    /// Begins to let go what nobody wants, on the newest of `sessions`.
    pub(super) fn start(sessions: watch::Receiver<Option<Arc<Session>>>) -> Self {
        let shared = Arc::new(Shared::default());
        let task = tokio::spawn(let_go(shared.clone(), sessions));
        Self {
            shared,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// Somebody wants the attempt `lease`.
    pub(super) fn want(&self, lease: u64) -> Interest {
        self.shared.lock().wanted.insert(lease);
        Interest {
            shared: self.shared.clone(),
            lease,
        }
    }

    /// Every lease that is wanted.
    pub(super) fn wanted(&self) -> Vec<u64> {
        self.shared.lock().wanted.iter().copied().collect()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        let mut leases = self.shared.lock();
        leases.wanted.remove(&self.lease);
        leases.unwanted.insert(self.lease);
        drop(leases);
        self.shared.changed.notify_one();
    }
}

async fn let_go(shared: Arc<Shared>, mut sessions: watch::Receiver<Option<Arc<Session>>>) {
    loop {
        shared.changed.notified().await;
        let leases = std::mem::take(&mut shared.lock().unwanted);
        let session = sessions.borrow_and_update().clone();
        let (Some(session), false) = (session, leases.is_empty()) else {
            // The next greeting does not name them.
            continue;
        };
        let leases = leases.into_iter().collect();
        let request = api::ReleaseRequest { leases };
        if let Err(status) = session.control().release(request).await {
            debug!(%status, "attempts are let go with the next greeting");
        }
    }
}
