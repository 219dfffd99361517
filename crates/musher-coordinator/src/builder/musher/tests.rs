//! Attempts on a real worker, whose builds are the test's: over a socket that
//! the test can cut.

mod bench;

use std::sync::Arc;
use std::time::Duration;

use musher_api::{Versions, worker as api};
use musher_protocol::types::BuildStatus;
use tokio::sync::oneshot;

use self::bench::{Bench, info, order, soon};
use crate::attempt::End;
use crate::builder::Builder;
use crate::testing::{path, spec};

#[tokio::test]
async fn inputs_go_along_and_a_short_output_comes_back_with_the_result() {
    let mut bench = Bench::new().await;
    let order = order(spec("app", &["src"]), &[("lib", &[]), ("src", &["lib"])]);
    let attempt = bench.attempt(order);
    let build = bench.next_build().await;
    assert!(bench.has("lib") && bench.has("src"));
    build.succeeds_with("app", &["lib"]).await;
    let (outcome, mut order) = attempt.outcome().await;
    assert_eq!(outcome.result.status, BuildStatus::Built);
    assert_eq!(outcome.outputs["out"], bench.info("app"));
    let held = outcome.held.expect("an output");
    // So short a NAR has come with the result.
    let nar = held.take(&path("app")).expect("on its way");
    assert_eq!(bench::read(nar).await, crate::testing::nar("app"));
    let nar = bench.builder.read_nar(&path("app")).await.expect("a NAR");
    assert_eq!(bench::read(nar).await, crate::testing::nar("app"));
    let measured = outcome.measured.expect("a measure");
    assert!(measured.sandboxed && measured.source == "rusage");

    // As long as it is held, the same order with a later lease takes it over.
    drop(held);
    bench.until_attempts(0).await;
    order.lease.0 += 1;
    order.known.remember([path("lib"), path("src")]);
    let attempt = bench.attempt(order);
    bench.next_build().await.fails("no").await;
    let (outcome, _) = attempt.outcome().await;
    assert_eq!(outcome.result.status, BuildStatus::PermanentFailure);
}

/// More than one stream holds, so that those who wait for the first to bring it
/// leave as much unread as there can be.
#[tokio::test]
async fn builds_that_share_a_long_input_do_not_wait_for_each_other() {
    const BUILDS: usize = 6;
    let mut bench = Bench::new().await;
    let content = "long ".repeat(4 << 20);
    let names: Vec<String> = (0..BUILDS).map(|number| format!("app-{number}")).collect();
    let attempts: Vec<_> = (names.iter())
        .map(|name| bench.attempt(bench::order_of_long(name, "lib", &content)))
        .collect();
    for _ in 0..BUILDS {
        bench.next_build().await.fails("no").await;
    }
    for attempt in attempts {
        let (outcome, _) = attempt.outcome().await;
        assert_eq!(outcome.result.status, BuildStatus::PermanentFailure);
    }
    assert!(bench.has("lib"));
}

#[tokio::test]
async fn a_broken_connection_costs_nothing_while_the_worker_lives() {
    let mut bench = Bench::new().await;
    let builder = bench.builder.clone();
    let (lost, mut is_lost) = oneshot::channel();
    tokio::spawn(async move { lost.send(builder.lost().await) });
    let attempt = bench.attempt(order(spec("app", &[]), &[]));
    let build = bench.next_build().await;
    build.says("one\n").await;
    attempt.log_reaches(4).await;
    bench.cut();
    build.says("two\n").await;
    attempt.log_reaches(8).await;
    build.succeeds_with("app", &[]).await;
    let log = attempt.log();
    let (outcome, _) = attempt.outcome().await;
    assert_eq!(outcome.result.status, BuildStatus::Built);
    assert_eq!(log.await, "one\ntwo\n");
    assert!(is_lost.try_recv().is_err());
    bench.refuse();
    bench.cut();
    let reason = soon(is_lost).await.expect("it is lost");
    assert!(reason.starts_with("the connection broke"), "{reason}");
}

#[tokio::test]
async fn what_nobody_wants_any_more_ends_and_is_let_go() {
    let mut bench = Bench::new().await;
    let attempt = bench.attempt(order(spec("a", &[]), &[]));
    let build = bench.next_build().await;
    drop(attempt);
    build.is_dropped().await;
    bench.until_attempts(0).await;

    let attempt = bench.attempt(order(spec("b", &[]), &[]));
    bench.next_build().await.succeeds_with("b", &[]).await;
    let (outcome, _) = attempt.outcome().await;
    bench.until_attempts(1).await;
    drop(outcome);
    bench.until_attempts(0).await;
}

#[tokio::test]
async fn a_machines_fault_is_told_from_the_builds() {
    let mut bench = Bench::new().await;
    let attempt = bench.attempt(order(spec("a", &[]), &[]));
    let build = bench.next_build().await;
    build.faults(api::Fault::DiskFull, "no space left").await;
    assert_eq!(attempt.fault().await, "its disk is full: no space left");
    let mut order = order(spec("app", &["lib"]), &[]);
    order.closure = crate::build::Closure(vec![info("lib", &[])]).into();
    order.known.remember([path("lib")]);
    let attempt = bench.attempt(order);
    let End::Outdated { lost } = attempt.end().await.0 else {
        panic!("it lost an input");
    };
    assert_eq!(lost, [path("lib")]);
    let attempt = bench.attempt(bench::order(spec("b", &[]), &[]));
    bench.next_build().await.succeeds_with("other", &[]).await;
    let reason = attempt.fault().await;
    assert!(reason.contains("nonsense"), "{reason}");
}

#[tokio::test]
async fn a_worker_of_the_version_before_builds_too() {
    let old = Versions::new(Versions::OURS.min(), Versions::OURS.max() - 1);
    let mut bench = Bench::speaking(old).await;
    let attempt = bench.attempt(order(spec("app", &["lib"]), &[("lib", &[])]));
    bench
        .next_build()
        .await
        .succeeds_with("app", &["lib"])
        .await;
    let (outcome, _) = attempt.outcome().await;
    let held = outcome.held.expect("an output");
    assert!(held.take(&path("app")).is_none(), "it knows no such thing");
    let nar = bench.builder.read_nar(&path("app")).await.expect("a NAR");
    assert_eq!(bench::read(nar).await, crate::testing::nar("app"));
}

#[tokio::test]
async fn who_hears_late_of_a_broken_connection_does_not_break_the_next() {
    let bench = Bench::new().await;
    let session = soon(bench.builder.session(None)).await.expect("a session");
    let bulk = async || soon(session.bulk()).await.expect("a connection");
    let gone = tonic::Status::unavailable("it broke");
    let first = bulk().await;
    session.bulk_failure(&first, "give", &gone).await;
    let second = bulk().await;
    assert!(!Arc::ptr_eq(&first, &second));
    session.bulk_failure(&first, "give", &gone).await;
    assert!(Arc::ptr_eq(&second, &bulk().await));
}

#[tokio::test]
async fn what_a_worker_that_makes_room_does_not_begin_is_handed_back() {
    let mut bench = Bench::new().await;
    let first = bench.attempt(order(spec("app", &[]), &[]));
    let build = bench.next_build().await;
    let another = bench.another().await;
    let session = soon(another.session(None)).await.expect("a session");
    let binary = "newer".to_owned();
    let mut control = session.control();
    let retired = control.retire(api::RetireRequest { binary });
    soon(retired).await.expect("an answer");
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    soon(async {
        while !session.is_retiring() {
            looks.tick().await;
        }
    })
    .await;
    let other = order(spec("other", &[]), &[]);
    let (end, _) = bench.attempt_of(&another, other).end().await;
    assert!(matches!(end, End::Returned));
    // What it has it goes on with.
    build.fails("no").await;
    assert_eq!(
        first.outcome().await.0.result.status,
        BuildStatus::PermanentFailure
    );
}
