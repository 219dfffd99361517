//! Paths that are given, and taken again.

use bytes::Bytes;
use futures_util::stream;
use musher_api::coordinator;
use musher_api::limits::CHUNK;
use musher_api::worker as api;
use musher_api::worker::gift::Item;
use musher_protocol::types::PathInfo;
use musher_store::local::LocalStore;
use nix_derivation::StoreDir;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::bench::{Bench, Client, absolute, file, follow, next, order, path, request, soon};

fn begin(lease: u64) -> Item {
    Item::Begin(api::Begin { lease })
}

fn offer(names: &[&str]) -> Item {
    Item::Offer(api::Offer {
        paths: names.iter().map(|name| absolute(name)).collect(),
        last: true,
    })
}

fn start(info: &PathInfo, start: &[u8]) -> Item {
    let info = coordinator::PathInfo::from_value(&StoreDir::default(), info);
    Item::Path(api::Path {
        info: Some(info),
        start: Bytes::copy_from_slice(start),
    })
}

/// Gives all at once, and says what is answered.
async fn give(client: &mut Client, items: Vec<Item>) -> Result<Vec<String>, Status> {
    let items = items.into_iter().map(|item| api::Gift { item: Some(item) });
    let items: Vec<_> = items.collect();
    let mut replies = soon(client.give_nars(stream::iter(items)))
        .await?
        .into_inner();
    let mut wanted = Vec::new();
    while let Some(reply) = soon(replies.message()).await? {
        wanted.extend(reply.wanted);
    }
    Ok(wanted)
}

async fn code(client: &mut Client, items: Vec<Item>) -> Code {
    let refused = give(client, items).await;
    refused.expect_err("it is refused").code()
}

fn is_valid(store: &LocalStore, name: &str) -> bool {
    store.is_valid(&path(name)).expect("an answer")
}

#[tokio::test]
async fn what_is_wanted_is_taken_and_can_be_read_from_any_offset() {
    let bench = Bench::new();
    let mut client = bench.coordinator("c", &[]).await;
    let ((lib, lib_nar), (app, app_nar)) = (file("lib", &[]), file("app", &["lib"]));
    let items = vec![
        begin(1),
        offer(&["lib", "app"]),
        start(&lib, &lib_nar),
        start(&app, &app_nar[..10]),
        Item::Chunk(Bytes::copy_from_slice(&app_nar[10..])),
    ];
    let wanted = give(&mut client, items).await.expect("it is taken");
    assert_eq!(wanted, [absolute("lib"), absolute("app")]);
    assert!(is_valid(&bench.store, "lib") && is_valid(&bench.store, "app"));
    let again = give(&mut client, vec![begin(1), offer(&["lib", "app"])]).await;
    assert!(again.expect("nothing to take").is_empty());

    for offset in [0, 1, app_nar.len(), app_nar.len() + 9] {
        let request = api::TakeNarRequest {
            path: absolute("app"),
            offset: offset as u64,
        };
        let mut chunks = client.take_nar(request).await.expect("a NAR").into_inner();
        let mut read = Vec::new();
        while let Some(chunk) = soon(chunks.message()).await.expect("it goes on") {
            read.extend_from_slice(&chunk.bytes);
        }
        assert_eq!(read, app_nar[offset.min(app_nar.len())..]);
    }
    let request = api::TakeNarRequest {
        path: absolute("other"),
        offset: 0,
    };
    let refused = client.take_nar(request).await.expect_err("it is not there");
    assert_eq!(refused.code(), Code::NotFound);
}

#[tokio::test]
async fn what_does_not_keep_to_the_protocol_is_refused_and_leaves_nothing() {
    let bench = Bench::new();
    let mut client = bench.coordinator("c", &[]).await;
    let (lib, nar) = file("lib", &[]);
    let long = Item::Chunk(vec![0; CHUNK + 1].into());
    let more = Item::Chunk(Bytes::from_static(b"x"));
    let bad: Vec<Vec<Item>> = vec![
        vec![offer(&["lib"])],
        vec![begin(1), more.clone()],
        vec![begin(1), offer(&[]), start(&lib, &nar)],
        vec![begin(1), offer(&["lib"]), more.clone()],
        vec![begin(1), offer(&["lib"]), start(&lib, &[]), long],
        vec![begin(1), offer(&["lib"]), start(&lib, &nar[..9])],
        vec![begin(1), offer(&["lib"])],
    ];
    for items in bad {
        let shown = format!("{items:?}");
        let code = code(&mut client, items).await;
        assert_eq!(code, Code::InvalidArgument, "{shown:.200}");
        assert!(!is_valid(&bench.store, "lib"), "{shown:.200}");
    }
    let mut other = nar.clone();
    other[120] ^= 1;
    let items = vec![begin(1), offer(&["lib"]), start(&lib, &other)];
    give(&mut client, items)
        .await
        .expect_err("its hash is another");
    assert!(!is_valid(&bench.store, "lib"));
    // What came before an error stays.
    let items = vec![begin(1), offer(&["lib"]), start(&lib, &nar), more];
    assert_eq!(code(&mut client, items).await, Code::InvalidArgument);
}

#[tokio::test]
async fn an_attempt_waits_for_gifts_under_its_lease() {
    let mut bench = Bench::new();
    let mut client = bench.coordinator("c", &[]).await;
    let (lib, nar) = file("lib", &[]);
    let (items, queue) = mpsc::channel(4);
    let send = async |item| {
        let sent = items.send(api::Gift { item: Some(item) }).await;
        sent.expect("it is taken");
    };
    send(begin(1)).await;
    send(offer(&["lib"])).await;
    let replies = client.give_nars(ReceiverStream::new(queue));
    let mut replies = soon(replies).await.expect("a gift").into_inner();
    let reply = soon(replies.message()).await.expect("an answer");
    assert_eq!(reply.expect("an answer").wanted, [absolute("lib")]);
    // On another connection, so that it overtakes what is still to come.
    let mut other = bench.connect().await;
    let greeting = api::HelloRequest {
        coordinator: "c".to_owned(),
        ..super::bench::hello(&musher_api::Versions::OURS)
    };
    other.hello(greeting).await.expect("a greeting");
    let asked = request(1, Some(order("app", &["lib"])));
    let mut events = follow(&mut other, asked).await.expect("it waits");
    send(start(&lib, &nar)).await;
    assert!(bench.no_build());
    drop(items);
    bench.next_build().await.succeeds().await;
    assert_eq!(next(&mut events).await, "started");
    assert_eq!(next(&mut events).await, "ended Some(0) None");
    assert!(
        soon(replies.message())
            .await
            .expect("it is taken")
            .is_none()
    );
}
