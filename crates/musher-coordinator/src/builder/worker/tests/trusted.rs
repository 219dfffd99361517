//! Where the machine trusts us.

use std::collections::{BTreeMap, BTreeSet};

use musher_protocol::types::{BasicOutput, BuildResult, BuildStatus, BuiltOutput, PathInfo};
use musher_protocol::worker::Trust;

use super::{BOUND, Bench, Came, bytes};
use crate::attempt::Order;
use crate::attempt_log::attempt_log;
use crate::testing::{Script, floating, info, nar, order, path, spec};

/// An order to build `NAME.drv` from `src`, which refers to `lib`. The machine
/// is known to hold `known`.
fn order_of(name: &str, known: &[&str]) -> Order {
    let inputs = vec![info("lib", &[]), info("src", &["lib"])];
    let order = order(spec(name, &["src"]), inputs);
    order.known.remember(known.iter().map(|name| path(name)));
    order
}

/// A machine that holds `valid` of the inputs and can build `app`.
async fn bench(valid: &[&str]) -> Bench {
    let infos = [info("lib", &[]), info("src", &["lib"])].into_iter();
    let valid = infos.filter(|info| valid.contains(&info.path.name()));
    let bench = Bench::new(Trust::Trusted, valid.collect()).await;
    let script = Script::makes(vec![info("app", &["lib"])]);
    bench.daemon.script(path("app.drv"), script);
    bench
}

#[tokio::test]
async fn what_is_known_to_be_there_costs_one_exchange() {
    let bench = bench(&["lib", "src"]).await;
    bench.daemon.withholds();
    let done = bench.built(&order_of("app", &["lib", "src"])).await;
    assert_eq!(
        bench.daemon.asked(),
        [
            "keep lib src",
            "valid? lib src",
            "build app.drv",
            "info app",
            "nar app",
        ]
    );
    assert_eq!(
        done.outputs,
        BTreeMap::from([("out".to_owned(), info("app", &["lib"]))])
    );
    let nar_ahead = done.held.expect("outputs").take(&path("app"));
    assert_eq!(bytes(nar_ahead.expect("a NAR")).await, nar("app"));
    // The connection that is free again serves the next build.
    bench.built(&order_of("app", &["lib", "src"])).await;
    assert_eq!(bench.daemon.connections(), 1);
}

#[tokio::test]
async fn what_is_missing_is_sent_and_nothing_else() {
    let bench = bench(&["lib"]).await;
    bench.built(&order_of("app", &[])).await;
    assert_eq!(
        bench.daemon.asked(),
        [
            "keep lib src",
            "valid or substitutable? lib src",
            "keep lib src",
            "add unsigned src",
            "valid? lib src",
            "build app.drv",
            "info app",
            "nar app",
        ]
    );
}

#[tokio::test]
async fn what_refers_to_something_is_sent_after_it() {
    let bench = bench(&[]).await;
    bench.built(&order_of("app", &[])).await;
    assert!(
        bench
            .daemon
            .asked()
            .contains(&"add unsigned lib src".to_owned())
    );
}

#[tokio::test]
async fn lost_inputs_are_told_from_a_failed_build() {
    let bench = bench(&["lib"]).await;
    let order = order_of("app", &["lib", "src"]);
    let came = bench.attempt(&order).await;
    let Came::Outdated(lost) = came else {
        panic!("expected lost inputs, found {came:?}");
    };
    assert_eq!(lost, [path("src")]);
    order.known.forget(&lost);
    bench.built(&order).await;
    assert!(
        bench
            .daemon
            .asked()
            .contains(&"add unsigned src".to_owned())
    );
    // The first connection was left in the middle of a build.
    assert_eq!(bench.daemon.connections(), 2);
}

#[tokio::test]
async fn a_machine_that_loses_what_it_just_took_is_at_fault() {
    let bench = bench(&["lib"]).await;
    bench.daemon.loses_uploads();
    let reason = bench.fault(&order_of("app", &["lib"])).await;
    assert!(reason.contains("a moment later"), "{reason}");
}

#[tokio::test]
async fn a_failed_build_is_an_outcome_and_costs_its_connection() {
    let bench = bench(&["lib", "src"]).await;
    let mut script = Script::makes(Vec::new());
    script.log = vec!["cc app.c", "phase install", "no such header"];
    let text = "the build program failed";
    script.result = Some(BuildResult::new(BuildStatus::PermanentFailure, text));
    bench.daemon.script(path("app.drv"), script);
    let done = bench.done(&order_of("app", &["lib", "src"])).await;
    let failed = done.outcome;
    assert_eq!(failed.result.status, BuildStatus::PermanentFailure);
    assert_eq!(failed.result.error.to_string(), text);
    assert!(failed.outputs.is_empty() && failed.held.is_none());
    assert_eq!(
        done.log,
        "cc app.c\n@nix {\"action\":\"setPhase\",\"phase\":\"install\"}\nno such header\n"
    );
    let closed = bench.daemon.until_open(0);
    tokio::time::timeout(BOUND, closed)
        .await
        .expect("it is closed");
    bench.done(&order_of("app", &["lib", "src"])).await;
    assert_eq!(bench.daemon.connections(), 2);
}

#[tokio::test]
async fn a_daemon_that_begins_no_build_is_at_fault() {
    let bench = bench(&["lib", "src"]).await;
    bench.daemon.refuses_builds();
    let reason = bench.fault(&order_of("app", &["lib", "src"])).await;
    assert_eq!(reason, "the store refused: you may not");
}

#[tokio::test]
async fn several_outputs_are_kept_where_they_are_until_they_are_let_go() {
    let bench = bench(&["lib", "src"]).await;
    let script = Script::makes(vec![info("app", &[]), info("app-dev", &["app"])]);
    bench.daemon.script(path("app.drv"), script);
    let mut spec = spec("app", &["src"]);
    let dev = BasicOutput {
        path: Some(path("app-dev")),
        ..spec.derivation.outputs["out"].clone()
    };
    spec.derivation.outputs.insert("dev".to_owned(), dev);
    let order = order(spec, vec![info("lib", &[]), info("src", &["lib"])]);
    order.known.remember([path("lib"), path("src")]);
    let first = bench.built(&order).await;
    assert_eq!(
        bench.daemon.asked(),
        [
            "keep lib src",
            "valid? lib src",
            "build app.drv",
            "info app-dev app"
        ]
    );
    let names: Vec<_> = first.outputs.keys().collect();
    assert_eq!(names, ["dev", "out"]);
    let held = first.held.as_ref().expect("outputs");
    assert!(held.take(&path("app")).is_none());
    // As long as they are wanted, so is the connection that keeps them.
    drop(bench.built(&order).await);
    assert_eq!(bench.daemon.connections(), 2);
    drop(first);
    bench.built(&order).await;
    assert_eq!(bench.daemon.connections(), 2);
}

#[tokio::test]
async fn a_path_that_is_known_only_afterwards_is_asked_for_afterwards() {
    let bench = bench(&["lib", "src"]).await;
    let found = floating("app", &[]);
    let mut script = Script::makes(vec![found.clone()]);
    let built = |info: &PathInfo| BuiltOutput {
        drv_hash: None,
        path: info.path.clone(),
        signatures: BTreeSet::new(),
        dependent_realisations: BTreeMap::new(),
    };
    let mut result = BuildResult::new(BuildStatus::Built, "");
    let lib = info("lib", &[]);
    result.built_outputs.insert("out".to_owned(), built(&found));
    // Nobody asked for this.
    result.built_outputs.insert("more".to_owned(), built(&lib));
    script.result = Some(result);
    bench.daemon.script(path("app.drv"), script);
    let mut spec = spec("app", &["src"]);
    spec.derivation.outputs = BTreeMap::from([(
        "out".to_owned(),
        BasicOutput {
            path: None,
            hash_algo: "r:sha256".to_owned(),
            hash: String::new(),
        },
    )]);
    let order = order(spec, vec![info("lib", &[]), info("src", &["lib"])]);
    order.known.remember([path("lib"), path("src")]);
    let done = bench.built(&order).await;
    assert_eq!(
        bench.daemon.asked(),
        [
            "keep lib src",
            "valid? lib src",
            "build app.drv",
            "info app"
        ]
    );
    assert_eq!(done.outputs, BTreeMap::from([("out".to_owned(), found)]));
    let names: Vec<_> = done.result.built_outputs.keys().collect();
    assert_eq!(names, ["out"]);
}

#[tokio::test]
async fn a_success_without_its_output_is_the_machines_fault() {
    let bench = bench(&["lib", "src"]).await;
    bench
        .daemon
        .script(path("app.drv"), Script::makes(Vec::new()));
    let reason = bench.fault(&order_of("app", &["lib", "src"])).await;
    assert!(reason.contains("output `out` is not valid"), "{reason}");
}

#[tokio::test]
async fn an_attempt_that_is_dropped_hangs_up() {
    let bench = bench(&["lib", "src"]).await;
    let mut script = Script::makes(Vec::new());
    script.log = vec!["begun"];
    script.result = None;
    bench.daemon.script(path("app.drv"), script);
    let order = order_of("app", &["lib", "src"]);
    let (writer, mut log) = attempt_log(bench.dir.path().join("log"));
    let attempt = crate::attempt::run(&bench.builder, &order, writer);
    tokio::select! {
        _ = attempt => panic!("it cannot end"),
        read = log.read(0) => assert!(read.expect("readable").is_some()),
    }
    let closed = bench.daemon.until_open(0);
    tokio::time::timeout(BOUND, closed)
        .await
        .expect("it is closed");
}

#[tokio::test]
async fn a_restarted_daemon_costs_no_attempt() {
    let bench = bench(&["lib", "src"]).await;
    let order = order_of("app", &["lib", "src"]);
    let done = bench.built(&order).await;
    bytes(
        done.held
            .expect("outputs")
            .take(&path("app"))
            .expect("a NAR"),
    )
    .await;
    bench.daemon.hangs_up().await;
    bench.built(&order).await;
    assert_eq!(bench.daemon.connections(), 2);
}

#[tokio::test]
async fn outputs_of_a_graph_are_kept_on_one_connection_and_not_fetched() {
    let bench = bench(&["lib", "src"]).await;
    let mut kept = Vec::new();
    for _ in 0..4 {
        let mut asked = spec("app", &["src"]);
        asked.nar_ahead = false;
        let order = order(asked, vec![info("lib", &[]), info("src", &["lib"])]);
        order.known.remember([path("lib"), path("src")]);
        kept.push(bench.built(&order).await.held.expect("outputs"));
        assert!(kept[0].take(&path("app")).is_none());
        // One keeps, one builds; another only until it is known to be kept.
        assert!(bench.daemon.connections() <= 3);
    }
    let asked = bench.daemon.asked();
    assert!(!asked.contains(&"nar app".to_owned()), "{asked:?}");
    drop(kept);
    let one_left = async {
        while bench.daemon.open() > 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(BOUND, one_left)
        .await
        .expect("it lets go");
}
