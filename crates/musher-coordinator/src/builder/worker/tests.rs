//! Attempts on a nix-daemon that does what the test says.

mod trusted;
mod untrusted;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use musher_protocol::types::{BuildStatus, PathInfo};
use musher_protocol::worker::Trust;
use musher_store::ssh::{ControlDir, Link, SshOptions, SshTarget};
use musher_store::url::Authority;
use musher_store::{Connector, NarStream, Way, WorkerStore};
use nix_derivation::{StoreDir, StorePath};
use tokio::time::timeout;

use super::WorkerBuilder;
use crate::attempt::{End, Order, run};
use crate::attempt_log::attempt_log;
use crate::builder::{Builder, Outcome};
use crate::testing::NixDaemon;

/// How long anything may take here.
const BOUND: Duration = Duration::from_secs(20);

/// A nix-daemon, and what makes attempts on it.
struct Bench {
    daemon: NixDaemon,
    builder: WorkerBuilder,
    dir: tempfile::TempDir,
}

/// A build that ended.
#[derive(Debug)]
struct Done {
    outcome: Outcome,
    log: String,
}

/// What an attempt came to.
#[derive(Debug)]
enum Came {
    To(Box<Done>),
    Outdated(Vec<StorePath>),
    Fault(String),
}

impl Bench {
    /// A daemon that was connected to.
    async fn new(trust: Trust, valid: Vec<PathInfo>) -> Self {
        let daemon = NixDaemon::start(trust, valid);
        let dir = tempfile::tempdir().expect("a temporary directory");
        let control = ControlDir::open(dir.path()).await.expect("a directory");
        let target = SshTarget {
            authority: Authority::parse("localhost").expect("a host"),
            key: None,
            host_key: None,
            compress: false,
        };
        let link = Link::new(target, SshOptions::new(Arc::new(control)));
        let connector = Connector {
            way: Way::Socket(daemon.socket.clone()),
            timeout: BOUND,
        };
        let store = WorkerStore::new(connector, StoreDir::default(), None);
        let builder = WorkerBuilder::new(link, Arc::new(store), true);
        let found = builder.connect().await.expect("it listens");
        assert_eq!(found.trust, Some(trust));
        Self {
            daemon,
            builder,
            dir,
        }
    }

    async fn attempt(&self, order: &Order) -> Came {
        let (writer, mut log) = attempt_log(self.dir.path().join("log"));
        let end = timeout(BOUND, run(&self.builder, order, writer)).await;
        match end.expect("it ends") {
            End::Outcome { outcome, .. } => {
                let log = log.read(0).await.expect("readable").unwrap_or_default();
                let log = String::from_utf8(log.to_vec()).expect("text");
                Came::To(Box::new(Done {
                    outcome: *outcome,
                    log,
                }))
            }
            End::Outdated { lost } => Came::Outdated(lost),
            End::Returned => panic!("it was handed back"),
            End::Bereft { lost } => panic!("it could not have {lost:?}"),
            End::Fault { reason, .. } => Came::Fault(reason),
        }
    }

    /// An attempt that must come to an end of the build.
    async fn done(&self, order: &Order) -> Done {
        let came = self.attempt(order).await;
        let Came::To(done) = came else {
            panic!("expected an end, found {came:?}");
        };
        *done
    }

    /// An attempt that must succeed.
    async fn built(&self, order: &Order) -> Outcome {
        let Done { outcome, log } = self.done(order).await;
        assert_eq!(outcome.result.status, BuildStatus::Built, "{log}");
        outcome
    }

    /// An attempt that must come to nothing, to the machine's blame.
    async fn fault(&self, order: &Order) -> String {
        let came = self.attempt(order).await;
        let Came::Fault(reason) = came else {
            panic!("expected a fault, found {came:?}");
        };
        reason
    }
}

async fn bytes(mut nar: NarStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(chunk) = nar.next().await {
        bytes.extend_from_slice(&chunk.expect("readable"));
    }
    bytes
}
