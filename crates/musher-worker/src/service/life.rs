//! What goes on in a worker, how long it has to stay for that, and how what
//! nobody wants any more ends.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tracing::info;

use super::{Service, Shared};

/// How long what a coordinator no longer wants goes on: one that was started
/// again asks for the same orders under new leases, and finds them again.
const ADOPTION: Duration = Duration::from_secs(10);

impl Service {
    /// Waits until nothing has been going on for `linger`: no connection, no
    /// attempt that runs or is kept, no transfer.
    pub async fn idle_for(&self, linger: Duration) {
        let Shared {
            connections,
            running,
            kept,
            ..
        } = &*self.0;
        loop {
            connections.idle().await;
            running.idle().await;
            kept.idle().await;
            if connections.count() + running.count() > 0 {
                continue;
            }
            tokio::select! {
                () = sleep(linger) => return,
                () = connections.busy() => {}
                () = running.busy() => {}
                () = kept.busy() => {}
            }
        }
    }

    /// Waits until somebody said that a newer worker follows, and nothing runs
    /// that this one would have to end, nor is anything kept for somebody who
    /// is there.
    pub async fn retired(&self) {
        let Shared { running, kept, .. } = &*self.0;
        let mut retiring = self.0.retiring.subscribe();
        // The sender is ours, so that this is never an error.
        let _ = retiring.wait_for(|retiring| *retiring).await;
        loop {
            running.idle().await;
            // Asked for before looking, so that nothing between is missed.
            let (left, less) = (self.0.owners.left(), kept.changed());
            let is_needed = self.0.attempts.are_kept_for_present();
            if !is_needed && running.count() == 0 {
                return;
            }
            tokio::select! {
                () = left => {}
                () = less => {}
                () = running.busy() => {}
            }
        }
    }

    /// Waits until something could not be written for want of space.
    pub async fn disk_full(&self) {
        self.0.full.notified().await;
    }

    /// How many attempts run or wait for a slot.
    pub fn active(&self) -> usize {
        self.0.attempts.active()
    }

    /// How many attempts there are, those included that ended and were not let
    /// go.
    pub fn kept(&self) -> usize {
        self.0.attempts.all().len()
    }

    /// Lets go of all leases of `owner`'s but `wanted`, in a while.
    pub(super) fn let_go(&self, owner: &str, wanted: &BTreeSet<u64>) {
        let unwanted = self.0.attempts.unwanted(owner, wanted);
        if unwanted.is_empty() {
            return;
        }
        info!(owner, leases = unwanted.len(), "no longer wanted");
        let shared = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            sleep(ADOPTION).await;
            if let Some(shared) = shared.upgrade() {
                shared.attempts.release(&unwanted);
            }
        });
    }

    /// Ends every attempt, and waits until nothing of them is left.
    pub async fn stop(&self) {
        self.0.attempts.stop().await;
    }
}
