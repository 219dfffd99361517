//! One build as the core keeps it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use musher_protocol::types::{BasicDerivation, BuildMode, PathInfo};
use musher_scheduler::{LeaseId, MachineId, Placement, RequestId};
use nix_derivation::StorePath;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::build::{BuildSpec, Closure, Ended, Limits, Progress, Stage};
use crate::waiting::Waiting;

/// Two requests with the same key are for the same build. The derivation
/// itself is part of it, since a path alone is a client's word; so are the
/// limits, lest one client's build fail at another's; and so is what is kept of
/// a failure, which nobody could have of a build that began without.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BuildKey {
    drv_path: StorePath,
    check: bool,
    repair: bool,
    derivation: [u8; 32],
    limits: Limits,
    keep_failed: bool,
}

impl BuildKey {
    pub(crate) fn of(spec: &BuildSpec) -> Self {
        let mut hasher = Sha256::new();
        // `Debug` of ordered collections of plain values is injective and
        // stable within one process, which is all that a key needs.
        match with_plain_attrs(&spec.derivation) {
            Some(plain) => hasher.update(format!("{plain:?}")),
            None => hasher.update(format!("{:?}", spec.derivation)),
        }
        Self {
            drv_path: spec.drv_path.clone(),
            check: spec.mode == BuildMode::Check,
            repair: spec.mode == BuildMode::Repair,
            derivation: hasher.finalize().into(),
            limits: spec.limits,
            keep_failed: spec.keep_failed,
        }
    }
}

/// `derivation` with its structured attributes as every version of Nix means
/// them: newer ones write them anew. None where there are no such.
fn with_plain_attrs(derivation: &BasicDerivation) -> Option<BasicDerivation> {
    const NAME: &str = "__json";
    let attrs = derivation.env.get(NAME)?;
    let attrs: serde_json::Value = serde_json::from_slice(attrs).ok()?;
    let mut plain = derivation.clone();
    let attrs = attrs.to_string().into_bytes();
    plain.env.insert(NAME.to_owned(), attrs);
    Some(plain)
}

impl BuildKey {
    /// No key of a build of `drv` is before it in the order.
    pub(super) fn first_of(drv: &StorePath) -> Self {
        Self {
            drv_path: drv.clone(),
            check: false,
            repair: false,
            derivation: [0; 32],
            limits: Limits::default(),
            keep_failed: false,
        }
    }

    /// Whether it is the key of a build of `drv`.
    pub(super) fn is_of(&self, drv: &StorePath) -> bool {
        self.drv_path == *drv
    }
}

/// Where a build is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Its inputs are looked up.
    Preparing,
    /// The scheduler has it.
    Queued,
    /// An attempt runs.
    Running { lease: LeaseId },
    /// It is over and kept for those who still follow it.
    Ended,
}

/// One build.
pub(super) struct Record {
    pub(super) key: BuildKey,
    pub(super) spec: Arc<BuildSpec>,
    pub(super) closure: Arc<Closure>,
    pub(super) state: State,
    pub(super) attempts: u32,
    /// The requests that it is part of.
    pub(super) requests: Vec<RequestId>,
    /// Another path by which it is asked for: that of a derivation which had
    /// inputs of which nobody knew the paths.
    pub(super) alias: Option<StorePath>,
    /// Since when the scheduler has it.
    pub(super) ready: Option<Instant>,
    /// Why the newest attempt is where it is.
    pub(super) placement: Option<Placement>,
    /// How long attempts ran that came to nothing.
    pub(super) lost: Duration,
    pub(super) progress: watch::Sender<Progress>,
    /// What goes on for its sake, and ends with it.
    tasks: JoinSet<()>,
}

impl Record {
    pub(super) fn new(key: BuildKey, spec: BuildSpec) -> Self {
        let waiting = Waiting::from("its inputs are looked up");
        let stage = Stage::Waiting(Arc::new(waiting));
        Self {
            key,
            spec: Arc::new(spec),
            closure: Arc::default(),
            state: State::Preparing,
            attempts: 0,
            requests: Vec::new(),
            alias: None,
            ready: None,
            placement: None,
            lost: Duration::ZERO,
            progress: watch::Sender::new(Progress {
                stage,
                attempt: None,
            }),
            tasks: JoinSet::new(),
        }
    }

    /// Lets `task` run as long as the build is kept.
    pub(super) fn run(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        while self.tasks.try_join_next().is_some() {}
        self.tasks.spawn(task);
    }

    /// Lets go of what only a build that has not ended needs: a graph's builds
    /// stay as long as its request does, and there can be many.
    pub(super) fn let_go(&mut self) {
        self.closure = Arc::default();
        self.spec = Arc::new(self.spec.slim());
    }

    /// Shows a new stage to those who follow the build.
    pub(super) fn stage(&self, stage: Stage) {
        self.progress.send_modify(|progress| progress.stage = stage);
    }

    /// Shows what it waits for, if that is news.
    pub(super) fn waits(&self, waiting: Waiting) {
        self.progress.send_if_modified(|progress| {
            let is_known = matches!(&progress.stage, Stage::Waiting(known) if **known == waiting);
            if !is_known {
                progress.stage = Stage::Waiting(Arc::new(waiting));
            }
            !is_known
        });
    }

    /// Whether it is the build of `path`, or the one that makes it.
    pub(super) fn is_of(&self, path: &StorePath) -> bool {
        let outputs = self.spec.derivation.outputs.values();
        let mut outputs = outputs.filter_map(|output| output.path.as_ref());
        self.spec.drv_path == *path
            || self.alias.as_ref() == Some(path)
            || outputs.any(|output| output == path)
            || self.ended_with(path).is_some()
    }

    /// Whether it is over and its outputs are not there.
    pub(super) fn has_failed(&self) -> bool {
        match &self.progress.borrow().stage {
            Stage::Ended(ended) => !ended.result.status.is_success(),
            Stage::Waiting(_) | Stage::Running => false,
        }
    }

    /// Its outputs, if it is over and has some, and where they are.
    pub(super) fn outputs(&self) -> Vec<(PathInfo, MachineId)> {
        let Stage::Ended(ended) = &self.progress.borrow().stage else {
            return Vec::new();
        };
        let machine = ended.machine.iter();
        machine
            .flat_map(|machine| ended.outputs.values().map(move |info| (info, machine)))
            .map(|(info, machine)| (info.clone(), machine.clone()))
            .collect()
    }

    /// What came of it, if `path` is one of its outputs.
    pub(super) fn ended_with(&self, path: &StorePath) -> Option<Arc<Ended>> {
        match &self.progress.borrow().stage {
            Stage::Ended(ended) => {
                (ended.outputs.values().any(|info| info.path == *path)).then(|| ended.clone())
            }
            Stage::Waiting(_) | Stage::Running => None,
        }
    }
}
