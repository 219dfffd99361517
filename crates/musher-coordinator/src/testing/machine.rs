//! A machine that does what the test says.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use musher_protocol::types::{BuildResult, BuildStatus};
use musher_store::{NarStream, StoreError};
use nix_derivation::StorePath;
use tokio::sync::{mpsc, oneshot, watch};

use super::{info, nar};
use crate::attempt::{LogSink, Order};
use crate::builder::{Builder, BuilderInfo, Fault, Outcome};
use crate::held_outputs::HeldOutputs;

/// A machine whose attempts are the test's.
pub(crate) struct FakeMachine {
    name: String,
    tries: mpsc::UnboundedSender<Try>,
    reachable: watch::Sender<bool>,
}

/// An attempt that a machine was asked to make.
pub(crate) struct Try {
    /// Where.
    pub(crate) machine: String,
    /// The output's name.
    pub(crate) build: String,
    /// The inputs that must be sent.
    pub(crate) missing: Vec<String>,
    steps: mpsc::UnboundedSender<Step>,
}

enum Step {
    Start,
    Log(String),
    End(Box<Result<Outcome, Fault>>, oneshot::Sender<()>),
}

impl FakeMachine {
    pub(crate) fn new(name: &str, tries: mpsc::UnboundedSender<Try>) -> Self {
        Self {
            name: name.to_owned(),
            tries,
            reachable: watch::Sender::new(true),
        }
    }

    /// Lets it be reachable from now on, or not.
    pub(crate) fn reachable(&self, reachable: bool) {
        self.reachable.send_replace(reachable);
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

    /// The build succeeds. Its NAR is on its way.
    pub(crate) async fn succeeds(self) {
        let out = info(&self.build, &[]);
        let bytes = Bytes::from(nar(&self.build));
        let ahead: NarStream = Box::pin(stream::iter([Ok(bytes)]));
        let outcome = Outcome {
            result: BuildResult::new(BuildStatus::Built, ""),
            held: Some(HeldOutputs::ahead(&out, ahead)),
            outputs: BTreeMap::from([("out".to_owned(), out)]),
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

#[async_trait]
impl Builder for FakeMachine {
    async fn connect(&self) -> Result<BuilderInfo, StoreError> {
        match *self.reachable.borrow() {
            true => Ok(BuilderInfo {
                nix_version: None,
                protocol: "none".to_owned(),
                trust: None,
            }),
            false => Err(StoreError::Unsupported {
                what: "reaching it",
            }),
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
        };
        // A test that does not look wants no attempt to end either.
        let _ = self.tries.send(attempt);
        loop {
            match script.recv().await {
                Some(Step::Start) => log.build_starts(),
                Some(Step::Log(line)) => log.line(line.as_bytes())?,
                Some(Step::End(end, taken)) => {
                    let _ = taken.send(());
                    return *end;
                }
                None => std::future::pending().await,
            }
        }
    }

    async fn read_nar(&self, path: &StorePath) -> Result<NarStream, StoreError> {
        match *self.reachable.borrow() {
            true => Ok(Box::pin(stream::iter([Ok(nar(path.name()).into())]))),
            false => Err(StoreError::Unsupported { what: "reading" }),
        }
    }
}
