//! Clients of `ssh://`: the serve protocol, in front of the same sessions.

use std::collections::BTreeSet;
use std::thread::JoinHandle;

use musher_api::coordinator::build_event::Event;
use musher_protocol::serve::{
    BodyItem, BuildOptions, ClientEvent, Config, Exported, Request, Response,
};
use musher_protocol::types::BuildStatus;
use musher_serve::{Protocol, ServeError};
use musher_store::ServeConnection;
use nix_derivation::StoreDir;

use crate::coordinator::bounded;
use crate::host::Host;
use crate::values::{built, derivation, info, nar, path};

/// A client of the serve protocol in a session.
struct Client {
    connection: ServeConnection,
    thread: JoinHandle<Result<(), ServeError>>,
}

impl Client {
    async fn new(host: &Host) -> Self {
        let (transport, thread) = host.start(None, Protocol::Serve, true).await;
        let connection = ServeConnection::open(transport, Config::new(StoreDir::default()));
        let connection = bounded(connection).await.expect("a session");
        Self { connection, thread }
    }

    async fn ask(&mut self, request: Request) -> Response {
        self.connection
            .request(&request)
            .expect("a request that can be made");
        self.answer().await
    }

    async fn answer(&mut self) -> Response {
        let event = bounded(self.connection.event()).await;
        let event = event.expect("a session that goes on");
        let ClientEvent::Reply(response) = event else {
            panic!("no answer: {event:?}");
        };
        response
    }

    async fn body(&mut self, items: impl IntoIterator<Item = BodyItem>) {
        for item in items {
            bounded(self.connection.body(&item))
                .await
                .expect("a session that goes on");
        }
    }

    async fn nar(&mut self) -> Vec<u8> {
        let mut nar = Vec::new();
        loop {
            let event = bounded(self.connection.event()).await;
            let event = event.expect("a session that goes on");
            if let ClientEvent::Nar(bytes) = event {
                nar.extend(bytes);
            } else {
                assert_eq!(event, ClientEvent::Reply(Response::Nar));
                return nar;
            }
        }
    }

    fn leave(self) -> Result<(), ServeError> {
        drop(self.connection);
        self.thread.join().expect("no panic")
    }
}

fn paths(names: &[&str]) -> BTreeSet<nix_derivation::StorePath> {
    names.iter().map(|name| path(name)).collect()
}

#[tokio::test]
async fn paths_go_there_and_back() {
    let Some(host) = Host::new() else { return };
    let mut client = Client::new(&host).await;
    let (one, two) = (nar(b"one"), nar(&[2; 100_000]));
    let added = Request::AddToStoreNar {
        info: info("one", &one),
    };
    client.connection.request(&added).expect("a request");
    client
        .body([BodyItem::Chunk(one.clone().into()), BodyItem::End])
        .await;
    assert_eq!(client.answer().await, Response::Added(true));

    client
        .connection
        .request(&Request::ImportPaths)
        .expect("a request");
    let exported = Exported {
        path: path("two"),
        references: paths(&["one"]),
        deriver: None,
    };
    let items = [
        BodyItem::Chunk(two.clone().into()),
        BodyItem::Path(exported),
        BodyItem::End,
    ];
    client.body(items).await;
    assert_eq!(client.answer().await, Response::Imported(true));

    let valid = client
        .ask(Request::QueryValidPaths {
            lock: true,
            substitute: false,
            paths: paths(&["one", "two", "three"]),
        })
        .await;
    assert_eq!(valid, Response::ValidPaths(paths(&["one", "two"])));
    let closure = client
        .ask(Request::QueryClosure {
            include_outputs: true,
            paths: paths(&["two"]),
        })
        .await;
    assert_eq!(closure, Response::Closure(paths(&["one", "two"])));
    let infos = client
        .ask(Request::QueryPathInfos {
            paths: paths(&["three", "two"]),
        })
        .await;
    let Response::PathInfos(infos) = infos else {
        panic!("no infos: {infos:?}");
    };
    assert_eq!(infos[0].nar_size, two.len() as u64);
    let dump = Request::DumpStorePath { path: path("two") };
    client.connection.request(&dump).expect("a request");
    assert!(client.nar().await == two, "the NAR is the same");
    client.leave().expect("a good end");
}

#[tokio::test]
async fn builds_go_to_the_coordinator() {
    let Some(host) = Host::new() else { return };
    let mut coordinator = host.coordinator();
    let mut client = Client::new(&host).await;
    let request = Request::BuildDerivation {
        drv_path: path("hello.drv"),
        derivation: derivation("hello"),
        options: BuildOptions {
            timeout: 60,
            ..BuildOptions::default()
        },
    };
    client.connection.request(&request).expect("a request");
    let call = tokio::select! {
        call = coordinator.build() => call,
        event = client.connection.event() => panic!("answered: {event:?}"),
    };
    assert_eq!(call.request.limits.expect("limits").timeout_seconds, 60);
    let nar = nar(b"hello");
    call.starts("big", 1).await;
    call.say(Event::Ended(built("big", &info("hello", &nar))))
        .await;
    let answer = client.answer().await;
    let Response::Built(result) = answer else {
        panic!("no result: {answer:?}");
    };
    assert_eq!(result.status, BuildStatus::Built);
    let dump = Request::DumpStorePath {
        path: path("hello"),
    };
    client.connection.request(&dump).expect("a request");
    let serving = async { coordinator.nar().await.send(&nar).await };
    let (read, ()) = tokio::join!(client.nar(), serving);
    assert_eq!(read, nar);
    client.leave().expect("a good end");
    call.released().await;
}

#[tokio::test]
async fn a_failed_request_ends_the_session_with_its_reason() {
    let Some(host) = Host::new() else { return };
    let mut client = Client::new(&host).await;
    let dump = Request::DumpStorePath {
        path: path("nowhere"),
    };
    client.connection.request(&dump).expect("a request");
    bounded(client.connection.event())
        .await
        .expect_err("the end");
    let error = client.leave().expect_err("an error");
    assert!(error.to_string().contains("is not valid"), "{error}");
}
