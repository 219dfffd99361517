//! What the core is told and asked, and the handle to do so.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use musher_protocol::types::PathInfo;
use musher_scheduler::{BuildId, LeaseId, MachineId, Needs, RequestId};
use nix_derivation::StorePath;
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    Foreseen, Lacks, MachineNews, MachineSetup, OutlookSender, Part, Power, Standing, View, Why,
};
use crate::attempt::End;
use crate::attempt_log::AttemptLog;
use crate::build::{BuildSpec, Closure, Ended, Progress};
use crate::builder::Builder;
use crate::history::RequestGraph;
use crate::home::HomeError;

/// A message to the core.
pub(crate) enum Command {
    /// Someone wants a build and follows it with the receiver.
    Build {
        spec: Box<BuildSpec>,
        /// The request that it is part of, if it is.
        part: Option<Part>,
        reply: oneshot::Sender<watch::Receiver<Progress>>,
    },
    /// A build's inputs were looked up.
    Prepared {
        build: BuildId,
        closure: Result<Closure, HomeError>,
    },
    /// Nobody followed a build a moment ago.
    Abandoned { build: BuildId },
    /// Somebody asks for builds that belong together.
    OpenRequest {
        request: RequestId,
        standing: Standing,
    },
    /// What a request will come to.
    Plan {
        request: RequestId,
        builds: Vec<Foreseen>,
    },
    /// A request is over.
    CloseRequest { request: RequestId },
    /// Say from now on how far a request is.
    TellOutlook {
        request: RequestId,
        sender: OutlookSender,
    },
    /// An attempt is over.
    AttemptEnded {
        lease: LeaseId,
        end: End,
        /// NAR bytes of the inputs that the machine was not known to hold.
        sent: u64,
    },
    /// A request is over; this was built for it.
    RequestEnded { graph: Box<RequestGraph> },
    /// A machine came, went or learnt something.
    Machine {
        machine: MachineId,
        /// Which of the machines that had this name.
        turn: u64,
        news: MachineNews,
    },
    /// These are the machines from now on. Answers what changed, one line each.
    Configure {
        machines: BTreeMap<MachineId, MachineSetup>,
        reply: oneshot::Sender<Vec<String>>,
    },
    /// Send a machine no more builds, or send it builds again. Answers whether
    /// there is such a machine.
    Drain {
        machine: MachineId,
        resume: bool,
        reply: oneshot::Sender<bool>,
    },
    /// Which machines could build this, and what the others lack.
    Could {
        needs: Needs,
        reply: oneshot::Sender<BTreeMap<MachineId, Lacks>>,
    },
    /// What becomes of a derivation, or of one with this output; none if nobody
    /// has asked for it lately.
    Why {
        path: StorePath,
        reply: oneshot::Sender<Option<Box<Why>>>,
    },
    /// What the machines that are there can do.
    Powers {
        reply: oneshot::Sender<BTreeMap<MachineId, Power>>,
    },
    /// Everything there is to see.
    View { reply: oneshot::Sender<View> },
    /// Who reads from this machine.
    Reader {
        machine: MachineId,
        reply: oneshot::Sender<Option<Arc<dyn Builder>>>,
    },
    /// What is known of an output of a build that somebody follows, or followed
    /// a moment ago, and where it is.
    Find {
        path: StorePath,
        reply: oneshot::Sender<Option<(PathInfo, MachineId)>>,
    },
    /// The ended build that holds this output.
    Output {
        path: StorePath,
        reply: oneshot::Sender<Option<Arc<Ended>>>,
    },
    /// The log of the newest attempt of a build of this derivation that
    /// somebody follows.
    Log {
        drv: StorePath,
        reply: oneshot::Sender<Option<AttemptLog>>,
    },
    /// An output could not be read where it was built.
    Unreadable { path: StorePath },
    /// End; answer once nothing runs.
    Stop { reply: oneshot::Sender<()> },
}

/// The core has ended; so does the process.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the coordinator is stopping")]
pub(crate) struct Gone;

/// Speaks to the core. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct CoreHandle {
    inbox: mpsc::Sender<Command>,
    last_request: Arc<AtomicU64>,
}

impl CoreHandle {
    pub(super) fn new(sender: mpsc::Sender<Command>) -> Self {
        Self {
            inbox: sender,
            last_request: Arc::default(),
        }
    }

    /// A handle of a core that has ended.
    #[cfg(test)]
    pub(crate) fn to_nobody() -> Self {
        Self::new(mpsc::channel(1).0)
    }

    /// The number of a new request.
    pub(super) fn next_request(&self) -> RequestId {
        RequestId(self.last_request.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Tells the core something. Waits while its inbox is full.
    pub(crate) async fn send(&self, command: Command) {
        // Without a core there is nothing left that could care.
        let _ = self.inbox.send(command).await;
    }

    /// Asks the core something.
    pub(crate) async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, Gone> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply)).await;
        answer.await.map_err(|_| Gone)
    }
}
