//! Attempts: found again, refused, taken over, cancelled, let go.

use futures_util::FutureExt as _;
use musher_api::worker as api;
use tonic::Code;

use super::bench::{self, Bench, absolute, follow, next, order, refused, request, soon};
use crate::service::Ended;

const BUILT: &str = "ended Some(0) None";
const CANCELLED: &str = "ended Some(9) Cancelled";

#[tokio::test]
async fn an_attempt_goes_on_without_a_connection_and_is_found_again() {
    let mut bench = Bench::new();
    let mut client = bench.coordinator("c", &[]).await;
    let mut events = follow(&mut client, request(7, Some(order("app", &[]))))
        .await
        .expect("it begins");
    let build = bench.next_build().await;
    build.says("one\n").await;
    assert_eq!(next(&mut events).await, "started");
    assert_eq!(next(&mut events).await, "log 0 \"one\\n\"");
    drop((events, client));
    build.says("two\nthr").await;
    build.says("ee\n").await;
    let mut client = bench.coordinator("c", &[7]).await;
    let again = api::AttemptRequest {
        log_offset: 4,
        ..request(7, None)
    };
    let mut events = follow(&mut client, again).await.expect("it is found");
    assert_eq!(next(&mut events).await, "started");
    let mut log = String::new();
    while log.len() < "log 4 \"two\\nthree\\n\"".len() {
        log += &next(&mut events).await;
        if log.starts_with("log 4 \"two\\nthree") {
            break;
        }
        assert_eq!(log, "log 4 \"two\\n\"");
    }
    build.succeeds().await;
    while let event = next(&mut events).await
        && event != BUILT
    {
        assert!(event.starts_with("log "), "{event}");
    }
    assert_eq!(next(&mut events).await, "over");
    assert!(bench.no_build());
}

#[tokio::test]
async fn a_lease_is_answered_once_and_older_ones_are_refused() {
    let mut bench = Bench::new();
    let mut client = bench.coordinator("c", &[]).await;
    let app = || Some(order("app", &[]));
    let mut first = follow(&mut client, request(7, app()))
        .await
        .expect("it begins");
    let mut second = follow(&mut client, request(7, app()))
        .await
        .expect("it is found");
    let build = bench.next_build().await;
    assert_eq!(
        refused(&mut client, request(6, app())).await,
        Code::FailedPrecondition
    );
    assert_eq!(refused(&mut client, request(8, None)).await, Code::NotFound);
    assert_eq!(
        refused(&mut client, request(0, app())).await,
        Code::InvalidArgument
    );
    build.succeeds().await;
    for events in [&mut first, &mut second] {
        assert_eq!(next(events).await, "started");
        assert_eq!(next(events).await, BUILT);
    }
    assert!(bench.no_build());
}

#[tokio::test]
async fn the_same_order_is_shared_and_goes_on_until_nobody_wants_it() {
    let mut bench = Bench::new();
    let mut first = bench.coordinator("first", &[]).await;
    let mut second = bench.coordinator("second", &[]).await;
    let app = || Some(order("app", &[]));
    let mut started = follow(&mut first, request(9, app()))
        .await
        .expect("it begins");
    let build = bench.next_build().await;
    // The number of another coordinator's lease says nothing.
    let mut events = follow(&mut second, request(7, app()))
        .await
        .expect("it is shared");
    for events in [&mut started, &mut events] {
        assert_eq!(next(events).await, "started");
    }
    assert!(bench.no_build());
    assert_eq!(bench.service.active(), 1);
    for leases in [vec![7], vec![9]] {
        // Neither may end what the other wants.
        let cancelled = second.cancel(api::CancelRequest { leases });
        soon(cancelled).await.expect("an answer");
    }
    assert_eq!(bench.service.active(), 1);
    follow(&mut second, request(8, app()))
        .await
        .expect("it is shared");
    first
        .release(api::ReleaseRequest { leases: vec![9] })
        .await
        .expect("let go");
    assert_eq!(bench.service.active(), 1);
    second
        .release(api::ReleaseRequest { leases: vec![8] })
        .await
        .expect("let go");
    build.is_dropped().await;
    for events in [&mut started, &mut events] {
        assert_eq!(next(events).await, CANCELLED);
    }
}

#[tokio::test]
async fn another_order_for_the_same_derivation_waits_its_turn() {
    let mut bench = Bench::new();
    let mut first = bench.coordinator("first", &[]).await;
    let mut second = bench.coordinator("second", &[]).await;
    let other = || {
        Some(api::Order {
            keep_failed: true,
            ..order("app", &[])
        })
    };
    let app = request(9, Some(order("app", &[])));
    let mut events = follow(&mut first, app).await.expect("it begins");
    let build = bench.next_build().await;
    let mut waiting = Vec::new();
    // A lower lease is no late one: it is of another order.
    for (client, lease) in [(&mut first, 8), (&mut second, 3)] {
        let asked = follow(client, request(lease, other())).await;
        waiting.push(asked.expect("it waits"));
    }
    assert_eq!(bench.service.active(), 3);
    assert!(bench.no_build());
    build.succeeds().await;
    assert_eq!(next(&mut events).await, "started");
    assert_eq!(next(&mut events).await, BUILT);
    for events in &mut waiting {
        bench.next_build().await.succeeds().await;
        assert_eq!(next(events).await, "started");
        assert_eq!(next(events).await, BUILT);
    }
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_starts_again_finds_its_builds_and_lets_go_of_the_rest() {
    let mut bench = Bench::new();
    let mut client = bench.coordinator("c", &[]).await;
    let mut builds = Vec::new();
    for (lease, name) in [(1, "app"), (2, "other")] {
        follow(&mut client, request(lease, Some(order(name, &[]))))
            .await
            .expect("it begins");
        builds.push(bench.next_build().await);
    }
    drop(client);
    let mut client = bench.coordinator("c", &[]).await;
    let mut events = follow(&mut client, request(11, Some(order("app", &[]))))
        .await
        .expect("it is found");
    builds.remove(1).is_dropped().await;
    assert_eq!(refused(&mut client, request(1, None)).await, Code::NotFound);
    builds.remove(0).succeeds().await;
    assert_eq!(next(&mut events).await, "started");
    assert_eq!(next(&mut events).await, BUILT);
}

#[tokio::test(start_paused = true)]
async fn what_is_cancelled_or_no_longer_wanted_ends() {
    let mut bench = Bench::new();
    let mut client = bench.coordinator("c", &[]).await;
    let mut builds = Vec::new();
    for (lease, name) in [(1, "a"), (2, "b"), (3, "c"), (4, "d")] {
        follow(&mut client, request(lease, Some(order(name, &[]))))
            .await
            .expect("it begins");
        builds.push(bench.next_build().await);
    }
    let leases = vec![1];
    soon(client.cancel(api::CancelRequest { leases }))
        .await
        .expect("cancelled");
    builds[0].is_dropped().await;
    let mut events = follow(&mut client, request(1, None))
        .await
        .expect("it is kept");
    assert_eq!(next(&mut events).await, CANCELLED);
    let leases = vec![1, 2];
    soon(client.release(api::ReleaseRequest { leases }))
        .await
        .expect("let go");
    builds[1].is_dropped().await;
    assert_eq!(refused(&mut client, request(1, None)).await, Code::NotFound);
    // Another coordinator's greeting concerns nobody else.
    bench.coordinator("other", &[]).await;
    assert_eq!(bench.service.active(), 2);
    bench.coordinator("c", &[4]).await;
    builds[2].is_dropped().await;
    assert_eq!(bench.service.active(), 1);
    soon(bench.service.stop()).await;
    builds[3].is_dropped().await;
    assert_eq!(bench.service.active(), 0);
}

#[tokio::test]
async fn attempts_beyond_the_slots_wait_for_one() {
    let mut bench = Bench::new();
    let mut client = bench.coordinator("c", &[]).await;
    let ask = |lease, name| api::AttemptRequest {
        slots: 1,
        ..request(lease, Some(order(name, &[])))
    };
    let mut first = follow(&mut client, ask(1, "a")).await.expect("it begins");
    let build = bench.next_build().await;
    let mut second = follow(&mut client, ask(2, "b")).await.expect("it waits");
    assert_eq!(next(&mut first).await, "started");
    assert_eq!(bench.service.active(), 2);
    assert!(bench.no_build());
    build.succeeds().await;
    assert_eq!(next(&mut first).await, BUILT);
    let build = bench.next_build().await;
    assert_eq!((build.name.as_str(), build.slot), ("b", 0));
    build.succeeds().await;
    assert_eq!(next(&mut second).await, "started");
    assert_eq!(next(&mut second).await, BUILT);
}

#[tokio::test]
async fn inputs_that_are_not_there_are_named() {
    let mut bench = Bench::new();
    let mut client = bench.coordinator("c", &[]).await;
    let mut events = follow(&mut client, request(1, Some(order("app", &["lib"]))))
        .await
        .expect("it looks");
    let missing = format!("missing {}", absolute("lib"));
    assert_eq!(next(&mut events).await, missing);
    assert!(bench.no_build());
}

#[tokio::test]
async fn a_worker_that_retires_ends_what_it_has_and_begins_nothing() {
    let mut bench = Bench::new();
    let mut client = bench.coordinator("c", &[]).await;
    let mut events = follow(&mut client, request(1, Some(order("app", &[]))))
        .await
        .expect("it begins");
    let build = bench.next_build().await;
    let retire = |binary: &str| api::RetireRequest {
        binary: binary.to_owned(),
    };
    let reply = client.retire(retire("this")).await.expect("an answer");
    assert!(!reply.into_inner().retiring);
    let reply = client.retire(retire("newer")).await.expect("an answer");
    assert!(reply.into_inner().retiring);
    let other = request(2, Some(order("other", &[])));
    assert_eq!(refused(&mut client, other).await, Code::Unavailable);
    build.succeeds().await;
    assert_eq!(next(&mut events).await, "started");
    assert_eq!(next(&mut events).await, BUILT);
    drop(events);
    let leases = vec![1];
    client
        .release(api::ReleaseRequest { leases })
        .await
        .expect("let go");
    soon(bench.service.retired()).await;
}

#[tokio::test]
async fn a_worker_that_retires_keeps_nothing_for_those_who_have_gone() {
    let mut bench = Bench::new();
    let mut client = bench.coordinator("c", &[]).await;
    let (beats, pulse) = bench::pulse(&mut client).await;
    let mut events = follow(&mut client, request(1, Some(order("app", &[]))))
        .await
        .expect("it begins");
    bench.next_build().await.succeeds().await;
    assert_eq!(next(&mut events).await, "started");
    assert_eq!(next(&mut events).await, BUILT);
    let binary = "newer".to_owned();
    let retire = client.retire(api::RetireRequest { binary });
    retire.await.expect("an answer");
    let mut retired = Box::pin(bench.service.retired());
    assert!((&mut retired).now_or_never().is_none());
    // Who is there and has something here goes on; others wait.
    let mut other = bench.coordinator("other", &[]).await;
    let asked = request(1, Some(order("lib", &[])));
    assert_eq!(refused(&mut other, asked).await, Code::Unavailable);
    follow(&mut client, request(2, Some(order("lib", &[]))))
        .await
        .expect("it begins");
    let leases = vec![2];
    soon(client.cancel(api::CancelRequest { leases }))
        .await
        .expect("cancelled");
    assert!((&mut retired).now_or_never().is_none());
    drop((beats, pulse));
    soon(retired).await;
    assert_eq!(bench.service.kept(), 2);
}

#[tokio::test]
async fn want_of_space_is_told_to_whoever_can_make_some() {
    let mut bench = Bench::new();
    let mut client = bench.coordinator("c", &[]).await;
    let mut events = follow(&mut client, request(1, Some(order("app", &[]))))
        .await
        .expect("it begins");
    let build = bench.next_build().await;
    assert!(bench.service.disk_full().now_or_never().is_none());
    build.ends(Ended::fault(api::Fault::DiskFull, "full")).await;
    while next(&mut events).await != "ended Some(9) DiskFull" {}
    soon(bench.service.disk_full()).await;
}
