//! What is not building goes to the home store, which is a real one: Nix's, and
//! Musher's own.

use musher_protocol::types::BuildMode;
use musher_protocol::worker::{BodyItem, ClientEvent, Options, Request, Response, Trust};

use crate::coordinator::bounded;
use crate::host::{Client, Host};
use crate::values::{info, nar, path};

/// Uploads two paths in one stream, without signatures.
async fn upload(client: &mut Client, one: &[u8], two: &[u8]) -> Result<Response, String> {
    let request = Request::AddMultipleToStore {
        repair: false,
        dont_check_sigs: true,
        count: 2,
    };
    client.connection.request(request).expect("a request");
    for (name, nar) in [("one", one), ("two", two)] {
        let mut items = vec![BodyItem::Path(info(name, nar))];
        items.extend(
            nar.chunks(1000)
                .map(|chunk| BodyItem::Chunk(chunk.to_vec().into())),
        );
        for item in items {
            bounded(client.connection.body(item))
                .await
                .expect("a session that goes on");
        }
    }
    bounded(client.connection.body(BodyItem::End))
        .await
        .expect("a session that goes on");
    client
        .answer()
        .await
        .map_err(|error| error.message.to_string())
}

#[tokio::test]
async fn paths_go_there_and_back() {
    for host in Host::each() {
        let mut client = host.session(None).await;
        let (one, two) = (nar(&[1; 100_000]), nar(b"two"));
        assert_eq!(upload(&mut client, &one, &two).await, Ok(Response::Unit));

        let paths = [path("one"), path("two"), path("three")].into();
        let valid = client
            .ask(Request::QueryValidPaths {
                paths,
                substitute: true,
            })
            .await;
        assert_eq!(
            valid,
            Ok(Response::Paths([path("one"), path("two")].into()))
        );

        match client.ask(Request::QueryPathInfo(path("one"))).await {
            Ok(Response::PathInfo(Some(found))) => {
                assert_eq!(found.nar_hash, info("one", &one).nar_hash);
            }
            other => panic!("no info: {other:?}"),
        }
        client
            .connection
            .request(Request::NarFromPath(path("one")))
            .expect("a request");
        let mut read = Vec::new();
        while let ClientEvent::Nar(chunk) = bounded(client.connection.event()).await.expect("a NAR")
        {
            read.extend(chunk);
        }
        assert!(read == one, "the NAR is the same");

        let added = client.ask(Request::AddTempRoot(path("one"))).await;
        assert_eq!(added, Ok(Response::Unit));
        let options = Request::SetOptions(Options::default());
        assert_eq!(client.ask(options).await, Ok(Response::Unit));
        client.leave().expect("a good end");
    }
}

#[tokio::test]
async fn errors_are_passed_on_and_the_session_goes_on() {
    for host in Host::each() {
        let mut client = host.session(None).await;
        client
            .ask(Request::NarFromPath(path("nowhere")))
            .await
            .expect_err("an error");
        let valid = client.ask(Request::IsValidPath(path("nowhere"))).await;
        assert_eq!(valid, Ok(Response::Bool(false)));
        let ensured = client.ask(Request::EnsurePath(path("nowhere"))).await;
        ensured.expect_err("an error");
        let valid = client.ask(Request::IsValidPath(path("nowhere"))).await;
        assert_eq!(valid, Ok(Response::Bool(false)));
        client.leave().expect("a good end");
    }
}

#[tokio::test]
async fn a_bad_upload_fails_alone() {
    for host in Host::each() {
        let mut client = host.session(None).await;
        let (one, two) = (nar(b"one"), nar(b"two"));
        // As long as the other, and not what its hash says.
        let wrong = nar(b"eno");
        assert_eq!(one.len(), wrong.len());
        let request = Request::AddToStoreNar {
            info: info("one", &one),
            repair: false,
            dont_check_sigs: true,
        };
        client.connection.request(request).expect("a request");
        for item in [BodyItem::Chunk(wrong.into()), BodyItem::End] {
            bounded(client.connection.body(item))
                .await
                .expect("a session that goes on");
        }
        let error = client.answer().await.expect_err("an error");
        assert!(error.message.to_string().contains("hash"), "{error:?}");
        assert_eq!(upload(&mut client, &one, &two).await, Ok(Response::Unit));
        client.leave().expect("a good end");
    }
}

#[tokio::test]
async fn an_untrusted_client_gains_nothing_from_a_trusted_session() {
    for host in Host::each() {
        let mut client = host.session(Some(Trust::NotTrusted)).await;
        let error = upload(&mut client, &nar(b"one"), &nar(b"two"))
            .await
            .expect_err("a refusal");
        assert!(error.contains("lacks a"), "{error}");
        let repair = Request::BuildPaths {
            paths: Vec::new(),
            mode: BuildMode::Repair,
        };
        client.ask(repair).await.expect_err("a refusal");
        let valid = client.ask(Request::IsValidPath(path("one"))).await;
        assert_eq!(valid, Ok(Response::Bool(false)));
        client.leave().expect("a good end");
    }
}
