//! Versions, and signs of life.

use std::time::Duration;

use musher_api::Versions;
use musher_api::worker as api;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::Code;

use super::bench::{Bench, follow, hello, next, order, pulse, request, soon};

#[tokio::test]
async fn ends_one_version_apart_work_together() {
    let old = Versions::new(1, Versions::OURS.max() - 1);
    for (theirs, ours) in [(old.clone(), Versions::OURS), (Versions::OURS, old.clone())] {
        let mut bench = Bench::speaking(theirs);
        let mut client = bench.connect().await;
        let reply = client.hello(hello(&ours)).await.expect("a greeting");
        assert_eq!(reply.into_inner().version, old.max());
        let asked = request(1, Some(order("app", &[])));
        let mut events = follow(&mut client, asked).await.expect("it begins");
        bench.next_build().await.succeeds().await;
        assert_eq!(next(&mut events).await, "started");
        assert_eq!(next(&mut events).await, "ended Some(0) None");
    }
}

#[tokio::test]
async fn ends_without_a_common_version_say_so() {
    let bench = Bench::new();
    let newest = Versions::OURS.max();
    let strange = Versions::new(newest + 1, newest + 2);
    let refused = bench.connect().await.hello(hello(&strange)).await;
    let status = refused.expect_err("they cannot speak");
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(
        status.message().contains("versions"),
        "{}",
        status.message()
    );
}

#[tokio::test]
async fn a_worker_says_what_it_has_and_that_it_lives() {
    let bench = Bench::new();
    let mut client = bench.connect().await;
    let reply = client
        .hello(hello(&Versions::OURS))
        .await
        .expect("a greeting");
    let found = reply.into_inner().capabilities.expect("capabilities");
    assert!(found.cores > 0 && found.systems[0].ends_with("-linux"));
    let (_beats, mut heard) = pulse(&mut client).await;
    for number in 1..=2 {
        let beat = soon(heard.message())
            .await
            .expect("it lives")
            .expect("a beat");
        assert_eq!(beat.number, number);
    }
    let status = client
        .status(api::StatusRequest {})
        .await
        .expect("an answer");
    assert_eq!(status.into_inner().coordinators, 1);
}

#[tokio::test(start_paused = true)]
async fn nobody_there_and_nothing_to_do_is_idle() {
    let bench = Bench::new();
    let client = bench.connect().await;
    let linger = Duration::from_secs(300);
    let idle = bench.service.idle_for(linger);
    tokio::pin!(idle);
    let hour = Duration::from_secs(3600);
    assert!(tokio::time::timeout(hour, &mut idle).await.is_err());
    drop(client);
    tokio::time::timeout(hour, idle).await.expect("it is idle");
}

#[tokio::test(start_paused = true)]
async fn a_caller_whose_machine_has_vanished_is_hung_up_on() {
    let bench = Bench::new();
    let mut stream = bench.pipe().await;
    // HTTP/2's preface, empty settings, and then nothing more.
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    stream.write_all(preface).await.expect("it is read");
    let mut said = Vec::new();
    let read = stream.read_to_end(&mut said);
    let bound = Duration::from_secs(120);
    let ended = tokio::time::timeout(bound, read).await;
    // How it hangs up does not matter.
    let _ = ended.expect("it hangs up");
    bench.service.idle_for(Duration::ZERO).await;
}
