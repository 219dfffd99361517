//! Outputs of a session's builds: asked for in any order, streamed from where
//! they were built, whatever becomes of the coordinator.

use std::collections::BTreeSet;

use musher_api::coordinator::build_event::Event;
use musher_protocol::types::PathInfo;
use musher_protocol::worker::{ClientEvent, Request, Response};
use nix_derivation::StoreDir;
use tonic::Status;

use crate::coordinator::{BuildCall, FakeCoordinator, bounded};
use crate::host::{Client, Host};
use crate::values::{build, built, info, nar, path};

/// A client whose build of `name` made `info`.
async fn client_with(
    host: &Host,
    coordinator: &mut FakeCoordinator,
    name: &str,
    info: &PathInfo,
) -> (Client, BuildCall) {
    let mut client = host.session(None).await;
    client.connection.request(build(name)).expect("a request");
    let call = coordinator.build_while(&mut client).await;
    call.say(Event::Ended(built("big", info))).await;
    client.answer().await.expect("a build");
    (client, call)
}

/// Reads a NAR that was asked for.
async fn read_nar(client: &mut Client) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let event = bounded(client.connection.event()).await.expect("a session");
        if let ClientEvent::Nar(chunk) = event {
            bytes.extend(chunk);
        } else {
            assert_eq!(event, ClientEvent::Reply(Response::Nar));
            return bytes;
        }
    }
}

#[tokio::test]
async fn everything_can_be_asked_at_once() {
    let Some(host) = Host::new() else { return };
    let mut coordinator = host.coordinator();
    let mut client = host.session(None).await;
    let nar = nar(b"hello");
    let info = info("hello", &nar);
    let hello = || path("hello");
    let paths = [hello(), path("other")].into();
    for request in [
        build("hello"),
        Request::QueryPathInfo(hello()),
        Request::IsValidPath(hello()),
        Request::QueryValidPaths {
            paths,
            substitute: true,
        },
        Request::NarFromPath(hello()),
        Request::NarFromPath(hello()),
    ] {
        client.connection.request(request).expect("a request");
    }
    let call = coordinator.build_while(&mut client).await;
    call.say(Event::Ended(built("big", &info))).await;
    client.answer().await.expect("a build");
    assert_eq!(client.answer().await, Ok(Response::PathInfo(Some(info))));
    assert_eq!(client.answer().await, Ok(Response::Bool(true)));
    assert_eq!(client.answer().await, Ok(Response::Paths([hello()].into())));
    for _ in 0..2 {
        let serving = async {
            let call = coordinator.nar().await;
            assert_eq!(call.request.machine, "big");
            call.send(&nar[..40]).await;
            call.send(&nar[40..]).await;
        };
        let (read, ()) = tokio::join!(read_nar(&mut client), serving);
        assert_eq!(read, nar);
    }
    client.leave().expect("a good end");
}

#[tokio::test]
async fn the_coordinator_knows_what_is_valid() {
    let Some(host) = Host::new() else { return };
    let coordinator = host.coordinator();
    let known = StoreDir::default().render_path(&path("known"));
    coordinator.knows(&[known, "nonsense".to_owned()]);
    let mut client = host.local_session().await;
    let paths = [path("known"), path("other")].into();
    let request = Request::QueryValidPaths {
        paths,
        substitute: true,
    };
    client.connection.request(request).expect("a request");
    // For others the home store is asked, which has neither.
    let valid = match rustix::process::geteuid().is_root() {
        true => [path("known")].into(),
        false => BTreeSet::new(),
    };
    assert_eq!(client.answer().await, Ok(Response::Paths(valid)));
    client.leave().expect("a good end");
}

#[tokio::test]
async fn outputs_of_other_sessions_are_found() {
    let Some(host) = Host::new() else { return };
    let mut coordinator = host.coordinator();
    let nar = nar(b"dev");
    let info = info("dev", &nar);
    coordinator.holds(&info, "far");
    let mut client = host.session(None).await;
    let other = || path("other");
    for request in [
        Request::NarFromPath(path("dev")),
        Request::QueryPathInfo(path("dev")),
        Request::IsValidPath(path("dev")),
        Request::QueryPathInfo(other()),
        Request::IsValidPath(other()),
    ] {
        client.connection.request(request).expect("a request");
    }
    let serving = async {
        let call = coordinator.nar().await;
        assert_eq!(call.request.machine, "far");
        call.send(&nar).await;
    };
    let (read, ()) = tokio::join!(read_nar(&mut client), serving);
    assert_eq!(read, nar);
    assert_eq!(client.answer().await, Ok(Response::PathInfo(Some(info))));
    assert_eq!(client.answer().await, Ok(Response::Bool(true)));
    assert_eq!(client.answer().await, Ok(Response::PathInfo(None)));
    assert_eq!(client.answer().await, Ok(Response::Bool(false)));
    client.leave().expect("a good end");
}

#[tokio::test]
async fn a_slow_client_holds_the_nar_back() {
    let Some(host) = Host::new() else { return };
    let mut coordinator = host.coordinator();
    let nar = nar(&vec![7; 24 << 20]);
    let info = info("large", &nar);
    let (mut client, _call) = client_with(&host, &mut coordinator, "large", &info).await;
    client
        .connection
        .request(Request::NarFromPath(path("large")))
        .expect("a request");
    // The first piece has to be read for the request to be sent.
    let call = coordinator.nar_while(&mut client).await;
    let mut chunks = nar.chunks(64 << 10).map(bytes::Bytes::copy_from_slice);
    let mut stuck = 0;
    let mut sent = Vec::new();
    let mut chunk = chunks.next();
    while let Some(next) = chunk.take() {
        if call.try_send(&next) {
            sent.extend(next);
            stuck = 0;
            chunk = chunks.next();
        } else if stuck < 200 {
            // Until nothing moves any more.
            stuck += 1;
            chunk = Some(next);
            tokio::task::yield_now().await;
            std::thread::yield_now();
        } else {
            chunk = Some(next);
            break;
        }
    }
    let ahead = sent.len();
    assert!(
        ahead < 8 << 20,
        "{ahead} bytes were taken ahead of the client"
    );
    let serving = async {
        call.send(&chunk.expect("more than was taken")).await;
        for chunk in chunks {
            call.send(&chunk).await;
        }
    };
    let (read, ()) = tokio::join!(read_nar(&mut client), serving);
    assert!(read == nar, "the NAR is whole");
}

#[tokio::test]
async fn a_nar_goes_on_after_a_restart() {
    let Some(host) = Host::new() else { return };
    let mut coordinator = host.coordinator();
    let nar = nar(&[3; 1000]);
    let info = info("hello", &nar);
    let (mut client, _call) = client_with(&host, &mut coordinator, "hello", &info).await;
    client
        .connection
        .request(Request::NarFromPath(path("hello")))
        .expect("a request");
    let call = coordinator.nar_while(&mut client).await;
    call.send(&nar[..400]).await;
    let ClientEvent::Nar(first) = bounded(client.connection.event()).await.expect("a NAR") else {
        panic!("no NAR");
    };
    drop(coordinator);

    let mut coordinator = host.coordinator();
    let serving = async {
        let call = coordinator.nar().await;
        assert_eq!(call.request.offset, 400);
        call.send(&nar[400..]).await;
    };
    let (rest, ()) = tokio::join!(read_nar(&mut client), serving);
    assert_eq!([first.as_ref(), &rest].concat(), nar);
}

#[tokio::test]
async fn a_lost_output_is_built_again() {
    let Some(host) = Host::new() else { return };
    let mut coordinator = host.coordinator();
    let nar = nar(&[3; 1000]);
    let info = info("hello", &nar);
    let (mut client, first) = client_with(&host, &mut coordinator, "hello", &info).await;
    client
        .connection
        .request(Request::NarFromPath(path("hello")))
        .expect("a request");
    let serving = async {
        let call = coordinator.nar().await;
        call.send(&nar[..400]).await;
        call.fail(Status::not_found("no machine is called `big`"))
            .await;
        let call = coordinator.build().await;
        assert_ne!(call.request.request_id, first.request.request_id);
        assert!(first.is_released());
        call.starts("small", 9).await;
        call.say(Event::Ended(built("small", &info))).await;
        let nar_call = coordinator.nar().await;
        assert_eq!(nar_call.request.machine, "small");
        assert_eq!(nar_call.request.offset, 400);
        nar_call.send(&nar[400..]).await;
        call
    };
    let (read, call) = tokio::join!(read_nar(&mut client), serving);
    assert_eq!(read, nar);
    assert!(!call.is_released());
}

#[tokio::test]
async fn a_lost_output_that_comes_out_otherwise_is_an_error() {
    let Some(host) = Host::new() else { return };
    let mut coordinator = host.coordinator();
    let nar = nar(b"one");
    let info = info("hello", &nar);
    let (mut client, _call) = client_with(&host, &mut coordinator, "hello", &info).await;
    client
        .connection
        .request(Request::NarFromPath(path("hello")))
        .expect("a request");
    let serving = async {
        let call = coordinator.nar().await;
        call.fail(Status::not_found("no machine is called `big`"))
            .await;
        let call = coordinator.build().await;
        let other = crate::values::info("hello", &crate::values::nar(b"two"));
        call.say(Event::Ended(built("small", &other))).await;
        call.released().await;
    };
    let (answer, ()) = tokio::join!(client.answer(), serving);
    let error = answer.expect_err("an error");
    assert!(
        error.message.to_string().contains("made something else"),
        "{error:?}"
    );
}
