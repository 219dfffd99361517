//! What happens to a request, in order, for any number of listeners, each at
//! its own pace. Of each build only that it was asked for: its progress and log
//! are followed where they are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use musher_protocol::types::BuildStatus;
use nix_derivation::StorePath;
use tokio::sync::watch;

use super::graph::Outputs;
use super::summary::Summary;
use crate::build::Progress;

/// What happened.
#[derive(Debug, Clone)]
pub(crate) enum Happened {
    /// All is known that is to be done.
    Planned {
        builds: Arc<[StorePath]>,
        valid: usize,
    },
    /// A build was asked for. Its receiver is the request's interest in it.
    Asked {
        drv: StorePath,
        progress: watch::Receiver<Progress>,
    },
    /// A derivation will not be built.
    Failed {
        drv: StorePath,
        status: BuildStatus,
        text: Arc<str>,
        /// The derivation because of which, if it is not this one.
        culprit: Option<StorePath>,
    },
    /// Outputs are brought home.
    Importing {
        paths: Arc<[StorePath]>,
        nar_bytes: u64,
    },
    /// They are there.
    Imported {
        paths: Arc<[StorePath]>,
        nar_bytes: u64,
        took: Duration,
    },
    /// Where the time went; told just before the end.
    Summed(Arc<Summary>),
    /// It is over.
    Done(Arc<BTreeMap<StorePath, RootEnd>>),
}

/// How a root ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RootEnd {
    /// Its wanted outputs, if they are at home.
    pub(crate) outputs: Outputs,
    /// The derivation because of which they are not, if that is known.
    pub(crate) culprit: Option<StorePath>,
}

/// The teller's end of a story.
#[derive(Debug, Clone)]
pub(super) struct Teller(watch::Sender<Vec<Happened>>);

/// A listener's place in a story. A new one begins at the beginning.
#[derive(Debug)]
pub(crate) struct Story {
    events: watch::Receiver<Vec<Happened>>,
    heard: usize,
}

/// A new story.
pub(super) fn story() -> (Teller, Story) {
    let (sender, events) = watch::channel(Vec::new());
    (Teller(sender), Story { events, heard: 0 })
}

impl Teller {
    pub(super) fn tell(&self, happened: Happened) {
        self.0.send_modify(|events| events.push(happened));
    }
}

impl Story {
    /// What happened since the last call; waits for something to happen. Nothing
    /// is lost when the future is dropped. An error once nobody tells any more.
    pub(crate) async fn next(&mut self) -> Result<Vec<Happened>, watch::error::RecvError> {
        let heard = self.heard;
        let events = self.events.wait_for(|events| events.len() > heard).await?;
        let news = events[heard..].to_vec();
        self.heard = events.len();
        Ok(news)
    }
}
