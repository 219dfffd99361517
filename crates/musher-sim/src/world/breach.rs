//! What a decider can do wrong.

use musher_scheduler::{BuildId, LeaseId, MachineId, RequestId, Timestamp};

/// Something that must never be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    /// A build was assigned that does not wait for a machine.
    #[error("build {build} was assigned under lease {lease}, and {is}")]
    NotWaiting {
        /// Which.
        build: BuildId,
        /// The attempt.
        lease: LeaseId,
        /// What it does instead.
        is: String,
    },
    /// A build was assigned to a machine that takes no attempts.
    #[error("build {build} was assigned to `{machine}`, which {is}")]
    Closed {
        /// Which.
        build: BuildId,
        /// Where.
        machine: MachineId,
        /// What keeps the machine from it.
        is: &'static str,
    },
    /// A lease was not greater than those before it.
    #[error("lease {lease} came after lease {newest}")]
    OldLease {
        /// Which.
        lease: LeaseId,
        /// The greatest so far.
        newest: LeaseId,
    },
    /// An attempt was cancelled that is wanted, or not there, or cancelled
    /// before.
    #[error("lease {lease} was cancelled without need")]
    NeedlessCancel {
        /// Which.
        lease: LeaseId,
    },
    /// An attempt goes on that nobody wants.
    #[error("lease {lease}, which is {is}, was not cancelled")]
    NotCancelled {
        /// Which.
        lease: LeaseId,
        /// Why it should have been.
        is: &'static str,
    },
    /// A build was refused that a machine could make, or that does not wait.
    #[error("build {build} was refused, though {though}")]
    NeedlessRefusal {
        /// Which.
        build: BuildId,
        /// What speaks against it.
        though: &'static str,
    },
    /// A build was given up before machines failed at it often enough.
    #[error("build {build} was given up after {faults} faults")]
    EarlyGivingUp {
        /// Which.
        build: BuildId,
        /// How many there were.
        faults: usize,
    },
    /// A build that somebody waits for is not known any more, or known to be
    /// elsewhere.
    #[error("build {build} {truth}, and is said to be {said}")]
    Lost {
        /// Which.
        build: BuildId,
        /// What is true of it.
        truth: String,
        /// What is said.
        said: String,
    },
    /// A reason was given that is not true.
    #[error("build {build}: `{machine}` {said}, it is said; but that {truth}")]
    Untrue {
        /// Which.
        build: BuildId,
        /// About which machine.
        machine: MachineId,
        /// The reason.
        said: String,
        /// What is true.
        truth: &'static str,
    },
    /// A machine of the fleet is missing in a reason.
    #[error("build {build} waits, and nothing is said of `{machine}`")]
    Silent {
        /// Which.
        build: BuildId,
        /// Which machine.
        machine: MachineId,
    },
    /// It would look again at once, and so for ever.
    #[error("it looked again at {at}, and would at once look again")]
    Restless {
        /// When.
        at: Timestamp,
    },
    /// A request has what could run and nothing of it runs.
    #[error("request {request} waited for its next attempt since {since}")]
    Starved {
        /// Which.
        request: RequestId,
        /// Since when.
        since: Timestamp,
    },
    /// Nothing is going to happen, and a request is not over.
    #[error("request {request} never ends")]
    Stuck {
        /// Which.
        request: RequestId,
    },
}
