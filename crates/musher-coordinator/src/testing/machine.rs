//! A machine that does what the test says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use musher_protocol::types::{BuildResult, BuildStatus, PathInfo};
use musher_store::{NarStream, Store as _, StoreError};
use nix_derivation::StorePath;
use tokio::sync::{mpsc, oneshot, watch};

use super::{mentioning, nar};
use crate::attempt::{LogSink, Order};
use crate::builder::{Builder, BuilderInfo, Fault, Outcome};
use crate::held_outputs::HeldOutputs;

/// A machine whose attempts are the test's.
pub(crate) struct FakeMachine {
    name: String,
    tries: mpsc::UnboundedSender<Try>,
    reachable: watch::Sender<bool>,
    /// How often in a row it could not be reached.
    failures: watch::Sender<u32>,
    unreadable: AtomicBool,
    /// The NARs of those whose NAR is not that of their name.
    nars: Nars,
}

type Nars = Arc<Mutex<BTreeMap<StorePath, Vec<u8>>>>;

/// An attempt that a machine was asked to make.
pub(crate) struct Try {
    /// Where.
    pub(crate) machine: String,
    /// The output's name.
    pub(crate) build: String,
    /// The inputs that must be sent.
    pub(crate) missing: Vec<String>,
    steps: mpsc::UnboundedSender<Step>,
    nars: Nars,
}

enum Step {
    Start,
    Log(String),
    /// Read an input's NAR, and end where that fails.
    Read(StorePath),
    /// Read the beginning of an input's NAR, and no more.
    Taste(StorePath),
    End(Box<Result<Outcome, Fault>>, oneshot::Sender<()>),
}

impl FakeMachine {
    pub(crate) fn new(name: &str, tries: mpsc::UnboundedSender<Try>) -> Self {
        Self {
            name: name.to_owned(),
            tries,
            reachable: watch::Sender::new(true),
            failures: watch::Sender::new(0),
            unreadable: AtomicBool::new(false),
            nars: Nars::default(),
        }
    }

    /// Lets NARs be read there from now on, or not.
    pub(crate) fn unreadable(&self, unreadable: bool) {
        self.unreadable.store(unreadable, Ordering::Relaxed);
    }

    /// Lets it be reachable from now on, or not.
    pub(crate) fn reachable(&self, reachable: bool) {
        self.failures.send_replace(0);
        self.reachable.send_replace(reachable);
    }

    /// Waits until it was tried in vain for that many times since then.
    pub(crate) async fn was_tried(&self, times: u32) {
        let mut failures = self.failures.subscribe();
        let tried = failures.wait_for(|failures| *failures >= times).await;
        tried.expect("the sender is ours");
    }
}

impl Try {
    /// The build program starts.
    pub(crate) fn starts(&self) {
        self.step(Step::Start);
    }

    /// The build program says something.
    pub(crate) fn says(&self, line: &str) {
        self.step(Step::Log(line.to_owned()));
    }

    /// An input that must be sent is read, and cannot be.
    pub(crate) async fn cannot_read(self, input: &str) {
        self.step(Step::Read(super::path(input)));
        self.is_dropped().await;
    }

    /// The beginning of an input is read, and then no more of it.
    pub(crate) fn tastes(&self, input: &str) {
        self.step(Step::Taste(super::path(input)));
    }

    /// The build succeeds. Its NAR is on its way.
    pub(crate) async fn succeeds(self) {
        self.succeeds_with(&[]).await;
    }

    /// The same; its output refers to these.
    pub(crate) async fn succeeds_with(self, references: &[&str]) {
        let (out, nar) = mentioning(&self.build, references);
        self.succeeds_as(out, nar).await;
    }

    /// The same; its output refers to these, and the machine does not say so.
    pub(crate) async fn succeeds_concealing(self, references: &[&str]) {
        let (out, nar) = mentioning(&self.build, references);
        let references = BTreeSet::new();
        self.succeeds_as(PathInfo { references, ..out }, nar).await;
    }

    async fn succeeds_as(self, out: PathInfo, nar: Vec<u8>) {
        let bytes = Bytes::from(nar.clone());
        lock(&self.nars).insert(out.path.clone(), nar);
        let ahead: NarStream = Box::pin(stream::iter([Ok(bytes)]));
        let outcome = Outcome {
            result: BuildResult::new(BuildStatus::Built, ""),
            held: Some(HeldOutputs::ahead(&out, ahead)),
            outputs: BTreeMap::from([("out".to_owned(), out)]),
            measured: None,
            kept_dir: None,
        };
        self.ends(Ok(outcome)).await;
    }

    /// The build fails.
    pub(crate) async fn fails(self, text: &str) {
        let result = BuildResult::new(BuildStatus::PermanentFailure, text);
        self.ends(Ok(Outcome::failed(result))).await;
    }

    /// The attempt comes to nothing.
    pub(crate) async fn faults(self, fault: Fault) {
        self.ends(Err(fault)).await;
    }

    /// Waits until nobody wants the attempt any more.
    pub(crate) async fn is_dropped(&self) {
        self.steps.closed().await;
    }

    async fn ends(self, end: Result<Outcome, Fault>) {
        let (taken, seen) = oneshot::channel();
        self.step(Step::End(Box::new(end), taken));
        seen.await.expect("the attempt is under way");
    }

    fn step(&self, step: Step) {
        assert!(self.steps.send(step).is_ok(), "the attempt was dropped");
    }
}

fn lock(nars: &Nars) -> MutexGuard<'_, BTreeMap<StorePath, Vec<u8>>> {
    nars.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Builder for FakeMachine {
    async fn connect(&self) -> Result<BuilderInfo, StoreError> {
        match *self.reachable.borrow() {
            true => Ok(BuilderInfo {
                nix_version: None,
                protocol: "none".to_owned(),
                trust: None,
            }),
            false => {
                self.failures.send_modify(|failures| *failures += 1);
                Err(StoreError::Unsupported {
                    what: "reaching it",
                })
            }
        }
    }

    async fn lost(&self) -> String {
        let mut reachable = self.reachable.subscribe();
        let lost = reachable.wait_for(|reachable| !reachable).await;
        lost.expect("the sender is ours");
        "it went away".to_owned()
    }

    async fn disconnect(&self) {}

    async fn attempt(&self, order: &Order, log: &mut LogSink) -> Result<Outcome, Fault> {
        let (steps, mut script) = mpsc::unbounded_channel();
        let drv = order.spec.drv_path.name();
        let unknown = order.unknown();
        let attempt = Try {
            machine: self.name.clone(),
            build: drv.trim_end_matches(".drv").to_owned(),
            missing: unknown.iter().map(|path| path.name().to_owned()).collect(),
            steps,
            nars: self.nars.clone(),
        };
        // A test that does not look wants no attempt to end either.
        let _ = self.tries.send(attempt);
        let mut tasted = Vec::new();
        loop {
            match script.recv().await {
                Some(Step::Start) => log.build_starts(),
                Some(Step::Log(line)) => log.line(line.as_bytes())?,
                Some(Step::Read(path)) => {
                    drop(order.sources.read_nar(&path).await?);
                }
                Some(Step::Taste(path)) => {
                    let mut nar = order.sources.read_nar(&path).await?;
                    nar.next().await.transpose()?;
                    tasted.push(nar);
                }
                Some(Step::End(end, taken)) => {
                    let _ = taken.send(());
                    return *end;
                }
                None => std::future::pending().await,
            }
        }
    }

    async fn read_nar(&self, path: &StorePath) -> Result<NarStream, StoreError> {
        let unreadable = self.unreadable.load(Ordering::Relaxed);
        match *self.reachable.borrow() && !unreadable {
            true => {
                let own = lock(&self.nars).get(path).cloned();
                let nar = own.unwrap_or_else(|| nar(path.name()));
                Ok(Box::pin(stream::iter([Ok(nar.into())])))
            }
            false => Err(StoreError::Unsupported { what: "reading" }),
        }
    }
}
