//! What the scheduler is told. Knows nothing of how the shell learnt it.

use nix_derivation::StorePath;

use crate::{
    BuildId, Estimate, LeaseId, MachineId, MachineSpec, Needs, OwnerId, RequestId, SpeedFactor,
    Timestamp,
};

/// A fact reported to the scheduler.
///
/// Events about a machine or a lease it does not know are ignored: they are
/// late reports of what is already settled.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The configuration names this machine so. A machine new to the scheduler
    /// is away until it is reported available; a known one keeps its state and
    /// the attempts it runs.
    ///
    /// When the configuration is read again, report what is in it before what
    /// was removed: a build that fits only a machine that was renamed would be
    /// refused in between.
    MachineConfigured {
        /// What the machine offers now.
        spec: MachineSpec,
    },
    /// The configuration no longer names this machine. Its attempts are lost.
    MachineRemoved {
        /// Which.
        machine: MachineId,
    },
    /// The machine answers.
    MachineAvailable {
        /// Which.
        machine: MachineId,
    },
    /// The machine cannot be used for now. Its attempts are lost, and each
    /// counts as a fault of the machine.
    MachineAway {
        /// Which.
        machine: MachineId,
        /// Why, in words for the user.
        reason: String,
        /// When it is tried again, if that is known.
        retry_at: Option<Timestamp>,
    },
    /// The user wants no more attempts sent there. Running ones go on.
    MachineDrained {
        /// Which.
        machine: MachineId,
    },
    /// The user takes back a `MachineDrained`.
    MachineResumed {
        /// Which.
        machine: MachineId,
    },
    /// The machine's store holds these paths, beside those it held before.
    PathsHeld {
        /// Which.
        machine: MachineId,
        /// What it holds.
        paths: Vec<StorePath>,
    },
    /// The machine's store may not hold these paths any more.
    PathsForgotten {
        /// Which.
        machine: MachineId,
        /// What it may have lost.
        paths: Vec<StorePath>,
    },
    /// Nothing is known any more of what the machine's store holds.
    StoreForgotten {
        /// Which.
        machine: MachineId,
    },
    /// The bandwidth towards a machine was measured.
    LinkMeasured {
        /// Which.
        machine: MachineId,
        /// What arrives there, in bytes a second; finite and above zero, or
        /// the event is ignored.
        bytes_per_second: f64,
    },
    /// How fast a machine truly is was learnt from what it built.
    SpeedMeasured {
        /// Which.
        machine: MachineId,
        /// Its speed beside a machine of factor 1; counts from now on instead
        /// of the configured one.
        factor: SpeedFactor,
    },
    /// Somebody asks for builds that belong together. Said again of an open
    /// request, it changes the priority and the limit.
    RequestOpened {
        /// Its number.
        request: RequestId,
        /// Who asks.
        owner: OwnerId,
        /// What it is worth beside others: each step doubles its share of the
        /// slots. 0 is the usual; beyond -10 and 10 it counts as these.
        priority: i8,
        /// The most attempts at once for all requests of the owner; the
        /// newest limit counts.
        max_running: Option<u32>,
    },
    /// The request is over. What was only planned for it is forgotten; builds
    /// that were requested stay until they are cancelled.
    RequestClosed {
        /// Which.
        request: RequestId,
    },
    /// Builds that a request will come to, whose inputs may not exist yet. The
    /// plan of a request may come in several events.
    BuildsPlanned {
        /// For whom.
        request: RequestId,
        /// What.
        builds: Vec<PlannedBuild>,
    },
    /// Someone wants a build whose inputs exist. It may have been planned
    /// before. Requested again while it waits or runs it stays as it is, and is
    /// wanted by the other request too.
    BuildRequested {
        /// For whom; a build on its own is a request of its own.
        request: Option<RequestId>,
        /// Which.
        build: BuildId,
        /// What it needs of a machine.
        needs: Needs,
        /// What must be there before it can start.
        inputs: Vec<Input>,
        /// What it is expected to cost.
        estimate: Estimate,
    },
    /// Nobody wants the build any more.
    BuildCancelled {
        /// Which.
        build: BuildId,
    },
    /// The attempt is over and its slot free. Also to be reported for attempts
    /// that were cancelled, once they have stopped.
    AttemptEnded {
        /// Which.
        lease: LeaseId,
        /// How.
        end: AttemptEnd,
    },
    /// Nothing happened but time; see [`review_at`](crate::Scheduler::review_at).
    TimePassed,
}

/// A build that is not ready yet, as far as it is known.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedBuild {
    /// Which.
    pub build: BuildId,
    /// What it needs of a machine.
    pub needs: Needs,
    /// The builds that come before it, as far as they are not over. One that
    /// is unknown when the event comes counts as over.
    pub after: Vec<BuildId>,
    /// What it is expected to cost.
    pub estimate: Estimate,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptEnd {
    /// The derivation was built, or failed to build: an outcome either way.
    Finished,
    /// The machine failed, not the derivation. The build is tried again,
    /// elsewhere if there is an elsewhere.
    Faulted {
        /// What went wrong, in words for the user.
        reason: String,
    },
    /// The attempt was handed back, to nobody's blame. Unless the machine was
    /// reported away or drained first it may be assigned there again at once.
    Returned,
}

/// A path that must be on a machine before a build can start there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// The path.
    pub path: StorePath,
    /// Its size as a NAR, in bytes.
    pub nar_size: u64,
}
