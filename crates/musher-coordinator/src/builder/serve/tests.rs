//! Attempts on a `nix-store --serve` that does what the test says.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use musher_protocol::types::{BuildMode, BuildStatus, PathInfo};
use musher_protocol::worker::Trust;
use musher_store::ssh::{ControlDir, Link, SshOptions, SshTarget};
use musher_store::url::Authority;
use musher_store::{Connector, ServeStore, Way, WorkerStore};
use nix_derivation::StoreDir;
use tokio::time::timeout;

use super::{ServeBuilder, status_of};
use crate::attempt::{End, Order, run};
use crate::attempt_log::attempt_log;
use crate::builder::{Builder, Outcome};
use crate::testing::{NixDaemon, NixStore, absolute, info, nar, order, order_of_app, path, spec};

/// How long anything may take here.
const BOUND: Duration = Duration::from_secs(20);

struct Bench {
    store: NixStore,
    _daemon: NixDaemon,
    builder: ServeBuilder,
    dir: tempfile::TempDir,
}

impl Bench {
    async fn new(trust: Trust, valid: &[&str], build: Result<Vec<PathInfo>, u64>) -> Self {
        let infos = [info("lib", &[]), info("src", &["lib"])].into_iter();
        let valid = infos.filter(|info| valid.contains(&info.path.name()));
        let store = NixStore::start(valid.collect(), build);
        let daemon = NixDaemon::start(trust, Vec::new());
        let dir = tempfile::tempdir().expect("a temporary directory");
        let control = ControlDir::open(dir.path()).await.expect("a directory");
        let target = SshTarget {
            authority: Authority::parse("localhost").expect("a host"),
            key: None,
            host_key: None,
            compress: false,
        };
        let link = Link::new(target, SshOptions::new(Arc::new(control)));
        let connector = |socket: &std::path::Path| Connector {
            way: Way::Socket(socket.to_owned()),
            timeout: BOUND,
        };
        let served = ServeStore::new(connector(&store.socket), StoreDir::default());
        let asked = WorkerStore::new(connector(&daemon.socket), StoreDir::default(), None);
        let builder = ServeBuilder::new(link, Arc::new(served), Some(asked), true);
        let found = builder.connect().await.expect("it listens");
        assert_eq!(found.trust, Some(trust));
        Self {
            store,
            _daemon: daemon,
            builder,
            dir,
        }
    }

    async fn attempt(&self, order: &Order) -> End {
        let (writer, _) = attempt_log(self.dir.path().join("log"));
        let end = timeout(BOUND, run(&self.builder, order, writer)).await;
        end.expect("it ends")
    }

    async fn outcome(&self, order: &Order) -> Outcome {
        match self.attempt(order).await {
            End::Outcome { outcome, .. } => *outcome,
            End::Outdated { lost } => panic!("it lost {lost:?}"),
            End::Returned => panic!("it was handed back"),
            End::Bereft { lost } => panic!("it could not have {lost:?}"),
            End::Fault { reason, .. } => panic!("it faulted: {reason}"),
        }
    }
}

/// An order to build `app.drv` from `src`, which refers to `lib`.
fn order_with(known: &[&str]) -> Order {
    let inputs = vec![info("lib", &[]), info("src", &["lib"])];
    let order = order(spec("app", &["src"]), inputs);
    order.known.remember(known.iter().map(|name| path(name)));
    order
}

#[tokio::test]
async fn what_is_known_to_be_there_costs_one_exchange() {
    let app = vec![info("app", &["lib"])];
    let bench = Bench::new(Trust::Trusted, &["lib", "src"], Ok(app)).await;
    bench.store.withholds();
    let done = bench.outcome(&order_with(&["lib", "src"])).await;
    assert_eq!(
        bench.store.asked(),
        ["valid? lib src", "build app.drv", "info app", "nar app"]
    );
    assert_eq!(done.outputs["out"], info("app", &["lib"]));
    let mut ahead = done
        .held
        .expect("outputs")
        .take(&path("app"))
        .expect("a NAR");
    let mut bytes = Vec::new();
    while let Some(chunk) = ahead.next().await {
        bytes.extend_from_slice(&chunk.expect("readable"));
    }
    assert_eq!(bytes, nar("app"));
    drop(ahead);
    bench.outcome(&order_with(&["lib", "src"])).await;
    assert_eq!(bench.store.connections(), 1);
}

#[tokio::test]
async fn what_is_missing_is_sent_in_order() {
    let bench = Bench::new(Trust::Trusted, &[], Ok(vec![info("app", &[])])).await;
    bench.outcome(&order_with(&[])).await;
    assert_eq!(
        bench.store.asked(),
        [
            "valid or substitutable? lib src",
            "add lib",
            "add src",
            "valid? lib src",
            "build app.drv",
            "info app",
            "nar app",
        ]
    );
}

#[tokio::test]
async fn lost_inputs_are_told_from_a_failed_build() {
    let bench = Bench::new(Trust::Trusted, &["lib"], Ok(vec![info("app", &[])])).await;
    let order = order_with(&["lib", "src"]);
    match bench.attempt(&order).await {
        End::Outdated { lost } => assert_eq!(lost, [path("src")]),
        End::Returned => panic!("it was handed back"),
        End::Outcome { .. } | End::Bereft { .. } | End::Fault { .. } => {
            panic!("it lost an input")
        }
    }
    order.known.forget([&path("src")]);
    bench.outcome(&order).await;
    assert!(bench.store.asked().contains(&"add src".to_owned()));
}

#[tokio::test]
async fn a_failed_build_is_an_outcome_and_costs_its_connection() {
    let bench = Bench::new(Trust::Trusted, &["lib", "src"], Err(100)).await;
    for connections in [1, 2] {
        let done = bench.outcome(&order_with(&["lib", "src"])).await;
        assert_eq!(done.result.status, BuildStatus::PermanentFailure);
        assert!(done.held.is_none());
        assert_eq!(bench.store.connections(), connections);
    }
}

#[tokio::test]
async fn what_cannot_be_asked_for_is_not_claimed_to_be_done() {
    let bench = Bench::new(Trust::Trusted, &["lib", "src"], Ok(vec![info("app", &[])])).await;
    let mut checked = spec("app", &[]);
    checked.mode = BuildMode::Check;
    match bench.attempt(&order(checked, Vec::new())).await {
        End::Fault { reason, .. } => assert!(reason.contains("not possible"), "{reason}"),
        End::Outcome { .. } | End::Outdated { .. } | End::Returned | End::Bereft { .. } => {
            panic!("nobody can check it there")
        }
    }
}

#[tokio::test]
async fn who_does_not_trust_us_gets_the_derivation_with_all_it_comes_from() {
    let bench = Bench::new(Trust::NotTrusted, &[], Ok(vec![info("app", &[])])).await;
    let done = bench.outcome(&order_of_app()).await;
    assert_eq!(done.outputs["out"], info("app", &[]));
    let realise = format!("realise {}", absolute("app.drv"));
    let mut added = bench.store.asked();
    assert_eq!(
        added.remove(0),
        "valid or substitutable? app.c app.drv lib.drv"
    );
    assert_eq!(added.split_off(3), [realise.as_str(), "info app"]);
    assert_eq!(added, ["add app.c", "add lib.drv", "add app.drv"]);
}

#[tokio::test]
async fn a_failure_there_keeps_its_class() {
    for (exit, status) in [
        (1, BuildStatus::MiscFailure),
        (100, BuildStatus::PermanentFailure),
        (101, BuildStatus::TimedOut),
        (102, BuildStatus::OutputRejected),
        (104, BuildStatus::NotDeterministic),
    ] {
        assert_eq!(status_of(exit), status);
    }
    let bench = Bench::new(Trust::NotTrusted, &[], Err(101)).await;
    let done = bench.outcome(&order_of_app()).await;
    assert_eq!(done.result.status, BuildStatus::TimedOut);
    assert_eq!(done.result.error.to_string(), "it failed");
}
