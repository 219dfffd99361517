//! The logs of a request's builds on their way to where Nix looks for them. One
//! after the other, and beside everything else; that one cannot be put there is
//! no reason to fail.

use std::sync::Arc;
use std::time::Duration;

use nix_derivation::StorePath;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use crate::attempt_log::AttemptLog;
use crate::build::Progress;
use crate::home::Home;

/// How long the end of a request waits for its logs.
const LONGEST: Duration = Duration::from_secs(10);

/// A derivation that was built, and what the build said.
type Kept = (StorePath, AttemptLog);

/// Logs on their way.
pub(super) struct HomeLogs {
    queue: UnboundedSender<Kept>,
    task: AbortOnDropHandle<()>,
}

impl HomeLogs {
    /// None so far, on their way to `home`.
    pub(super) fn new(home: Arc<Home>) -> Self {
        let (queue, logs) = mpsc::unbounded_channel();
        Self {
            queue,
            task: AbortOnDropHandle::new(tokio::spawn(put(home, logs))),
        }
    }

    /// Sends the log of a build that has ended.
    pub(super) fn send(&self, drv: StorePath, progress: &Progress) {
        // What never ran has no log.
        if let Some(attempt) = &progress.attempt {
            // It waits for us as long as there is one of these.
            let _ = self.queue.send((drv, attempt.log.clone()));
        }
    }

    /// Waits until all are there.
    pub(super) async fn arrived(self) {
        drop(self.queue);
        if timeout(LONGEST, self.task).await.is_err() {
            warn!("the home store takes too long to take logs");
        }
    }
}

async fn put(home: Arc<Home>, mut logs: UnboundedReceiver<Kept>) {
    while let Some((drv, log)) = logs.recv().await {
        if let Err(error) = home.add_log(&drv, log).await {
            let error = crate::error_text(&error);
            warn!(%drv, error, "a log cannot be kept in the home store");
        }
    }
}
