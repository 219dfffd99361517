//! What is known of past attempts: learnt from as they end, and kept in a
//! database from one run to the next. Nothing that is wrong with that database
//! fails a build: it is said once, and the builds go on.

mod database;
mod graph;
mod keeper;
mod past;
pub(crate) mod report;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use musher_scheduler::{Estimate, Estimator, MachineId, MachineSpec, SpeedFactor, Subject};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::warn;

use crate::build::BuildSpec;

use database::Database;
use keeper::Job;

pub(crate) use graph::{GraphNode, RequestGraph};
pub(crate) use past::{PastAttempt, PastOutcome, build_kind, plain_name, since_1970};
pub use report::{HistoryError, export, read};

/// What may wait to be written down; what comes beyond it is learnt from, and
/// not kept.
const WAITING: usize = 4096;
/// How long the start waits for what was kept, and the end for what is to be.
const PATIENCE: Duration = Duration::from_secs(2);

/// The history as the coordinator uses it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct History {
    estimator: Arc<Mutex<Estimator>>,
    /// To who writes things down; none where nothing is kept.
    jobs: Option<mpsc::Sender<Job>>,
    /// Whether it was said that too much came at once.
    is_behind: Arc<AtomicBool>,
}

impl History {
    /// The history's file below the directory of what is kept.
    pub(crate) fn path(state: &Path) -> PathBuf {
        state.join("history.db")
    }

    /// A history that is remembered only as long as this process lives.
    pub(crate) fn unkept() -> Self {
        Self {
            estimator: Arc::default(),
            jobs: None,
            is_behind: Arc::default(),
        }
    }

    /// The history that is kept in the file `path`, which is made if it is not
    /// there. Waits until it was learnt from, but not for long: the rest is
    /// learnt while builds go on.
    pub(crate) async fn open(path: PathBuf) -> Self {
        let (jobs, waiting) = mpsc::channel(WAITING);
        let history = Self {
            jobs: Some(jobs),
            ..Self::unkept()
        };
        tokio::spawn(keeper::keep(path, history.estimator.clone(), waiting));
        history.settle().await;
        history
    }

    /// Waits until everything so far was written down, but not for long.
    pub(crate) async fn settle(&self) {
        let settled = self.ask(|_| Ok(()));
        if timeout(PATIENCE, settled).await.is_err() {
            warn!("the history takes long");
        }
    }

    /// A machine is configured to be so.
    pub(crate) fn configure(&self, spec: &MachineSpec) {
        self.estimator().configure(&spec.id, spec.speed_factor);
    }

    /// What a build is expected to cost.
    pub(crate) fn estimate(&self, spec: &BuildSpec) -> Estimate {
        self.estimate_of(&Subject {
            name: plain_name(&spec.drv_path),
            drv: Some(&spec.drv_path),
            system: &spec.derivation.system,
            kind: build_kind(&spec.derivation),
        })
    }

    /// The same, of whatever build.
    pub(crate) fn estimate_of(&self, subject: &Subject<'_>) -> Estimate {
        self.estimator().estimate(subject)
    }

    /// Learns from an attempt that ended, and keeps it.
    pub(crate) fn note(&self, attempt: PastAttempt) {
        if let Some(observation) = attempt.observation() {
            self.estimator().learn(&observation);
        }
        self.keep(Job::Attempt(Box::new(attempt)));
    }

    /// Keeps the graph of a request that ended.
    pub(crate) fn record(&self, mut graph: RequestGraph) {
        for node in &mut graph.nodes {
            node.speed = self.speed(&node.machine);
        }
        self.keep(Job::Graph(Box::new(graph)));
    }

    /// The speeds that have changed since they were last asked for.
    pub(crate) fn changed_speeds(&self) -> Vec<(MachineId, SpeedFactor)> {
        self.estimator().changed_speeds()
    }

    /// What the history answers to a question; none where nothing is kept or
    /// can be read.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Database) -> rusqlite::Result<T> + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let ask = Job::Ask(Box::new(move |database| {
            let answer = database.map(question).transpose()?;
            // Who asked may be out of patience.
            let _ = reply.send(answer);
            Ok(())
        }));
        self.jobs.as_ref()?.send(ask).await.ok()?;
        answer.await.ok().flatten()
    }

    /// The estimator, for several questions at once.
    pub(crate) fn estimator(&self) -> MutexGuard<'_, Estimator> {
        (self.estimator.lock()).unwrap_or_else(PoisonError::into_inner)
    }

    fn speed(&self, machine: &MachineId) -> f64 {
        self.estimator().factor(machine)
    }

    fn keep(&self, job: Job) {
        let Some(jobs) = &self.jobs else {
            return;
        };
        // A build must not wait for a disk.
        let is_behind = matches!(jobs.try_send(job), Err(mpsc::error::TrySendError::Full(_)));
        if is_behind && !self.is_behind.swap(true, Ordering::Relaxed) {
            warn!("the history is written too slowly; some of it is not kept");
        }
    }
}
