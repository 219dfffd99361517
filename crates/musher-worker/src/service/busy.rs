//! Counts what goes on, so that somebody can wait until nothing does.

use std::sync::Arc;

use tokio::sync::watch;

/// A count of things that go on. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Busy(Arc<watch::Sender<usize>>);

/// One thing that goes on, until it is dropped.
#[derive(Debug)]
pub(crate) struct BusyGuard(Arc<watch::Sender<usize>>);

impl Default for Busy {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }
}

impl Busy {
    /// One more thing goes on.
    pub(crate) fn enter(&self) -> BusyGuard {
        self.0.send_modify(|count| *count += 1);
        BusyGuard(self.0.clone())
    }

    /// How many things go on.
    pub(crate) fn count(&self) -> usize {
        *self.0.borrow()
    }

    /// Waits until the count is another than at the time of this call.
    pub(crate) fn changed(&self) -> impl Future<Output = ()> + use<> {
        let mut count = self.0.subscribe();
        async move {
            // The sender may be gone, and all that went on with it.
            let _ = count.changed().await;
        }
    }

    /// Waits until nothing goes on.
    pub(crate) async fn idle(&self) {
        // The sender is ours, so that this is never an error.
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }

    /// Waits until something goes on.
    pub(crate) async fn busy(&self) {
        let _ = self.0.subscribe().wait_for(|count| *count > 0).await;
    }
}

impl Drop for BusyGuard {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
