//! Derivations, builds of them, attempts at those and requests for them, as
//! they truly are.

use std::collections::{BTreeMap, BTreeSet};

use musher_scheduler::{
    AttemptEnd, BuildId, Estimate, LeaseId, MachineId, Needs, OwnerId, RequestId, Timestamp,
};
use nix_derivation::StorePath;

use super::agenda::Place;

/// The number of a derivation in a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DerivationId(pub usize);

/// Something that can be built.
#[derive(Debug, Clone)]
pub struct Derivation {
    /// How long it takes on a machine of speed factor 1.
    pub seconds: f64,
    /// The size of its outputs.
    pub output_bytes: u64,
    /// What it needs of a machine.
    pub needs: Needs,
    /// What it needs built before it, all added to the world before it.
    pub deps: Vec<DerivationId>,
    /// What the scheduler is told that it costs.
    pub estimate: Estimate,
}

impl DerivationId {
    /// The name of its output.
    pub(super) fn path(self) -> StorePath {
        let mut hash = [0; 20];
        hash[..8].copy_from_slice(&(self.0 as u64).to_le_bytes());
        match StorePath::from_parts(hash, "output") {
            Ok(path) => path,
            Err(error) => panic!("bug: the path of derivation {}: {error}", self.0),
        }
    }
}

/// What became of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Something that it depends on is not built, or nobody was told that it is.
    Blocked,
    /// It waits for a machine.
    Ready {
        /// Since when.
        since: Timestamp,
    },
    /// It was given to a machine.
    Running(
        /// The attempt.
        LeaseId,
    ),
    /// Built, failed, or not wanted any more.
    Over,
}

/// A build: a derivation that somebody wants.
#[derive(Debug)]
pub struct Build {
    /// Its number.
    pub id: BuildId,
    /// What it is of.
    pub derivation: DerivationId,
    /// What became of it.
    pub state: State,
    /// The requests that want it.
    pub wanted_by: BTreeSet<RequestId>,
    /// Each fault of a machine that it met, oldest first.
    pub faulted: Vec<MachineId>,
    /// When it first could have run.
    pub(super) ready_at: Timestamp,
    /// How many builds it still waits for.
    pub(super) missing: usize,
    /// The builds that wait for it.
    pub(super) dependents: Vec<BuildId>,
}

impl Build {
    /// How many builds it still waits for.
    pub fn missing(&self) -> usize {
        self.missing
    }

    /// What is true of it, in words.
    pub fn truth(&self) -> String {
        match self.state {
            State::Blocked => "waits for other builds".to_owned(),
            State::Ready { .. } => "waits for a machine".to_owned(),
            State::Running(lease) => format!("runs under lease {lease}"),
            State::Over => "is over".to_owned(),
        }
    }
}

/// What the coordinator thinks of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Its build is wanted and it is the one.
    Good,
    /// Its build is not wanted any more: it is to stop, and keeps its slot until
    /// it has.
    Unwanted,
    /// Its machine is gone, and its slot with it.
    Lost,
}

/// An attempt that is not over.
#[derive(Debug)]
pub struct Attempt {
    /// Of what.
    pub build: BuildId,
    /// Where.
    pub machine: MachineId,
    /// What is thought of it.
    pub standing: Standing,
    /// When it was sent there.
    pub assigned_at: Timestamp,
    pub(super) begun_at: Timestamp,
    pub(super) ended_at: Timestamp,
    /// Outputs that are fetched for it.
    pub(super) fetched: Vec<DerivationId>,
    pub(super) end: End,
    /// Where its next happening stands.
    pub(super) next: Place,
}

/// How an attempt ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// Its outputs are made.
    Built,
    /// The build program failed.
    Failed,
    /// Something else came between.
    Interrupted(AttemptEnd),
}

/// A request that is not over.
#[derive(Debug)]
pub struct Request {
    /// Who asks.
    pub owner: OwnerId,
    /// When it came.
    pub arrived: Timestamp,
    /// The most attempts at once for its owner.
    pub max_running: Option<u32>,
    /// Its builds.
    pub builds: BTreeSet<BuildId>,
    /// When an attempt for it last began, or it last had nothing that could
    /// begin.
    pub(super) served: Timestamp,
}

/// An attempt that built something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// What.
    pub derivation: DerivationId,
    /// Where.
    pub machine: MachineId,
    /// When all it depends on was known to be built.
    pub ready_at: Timestamp,
    /// When it was sent there.
    pub assigned_at: Timestamp,
    /// When its inputs were there and it began.
    pub begun_at: Timestamp,
    /// When it was over.
    pub ended_at: Timestamp,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestEnd {
    /// All of it is built.
    Built,
    /// A build failed, was refused or was given up.
    Failed,
    /// Whoever asked went away.
    Withdrawn,
}

/// Requests that are over, with how and when.
pub(super) type Ended = BTreeMap<RequestId, (RequestEnd, Timestamp)>;
