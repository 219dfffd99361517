//! What sessions of the serve protocol say about peers and owners that do not
//! keep to it.

#[path = "common/nars.rs"]
mod nars;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;

use bytes::Bytes;
use expect_test::{Expect, expect};
use musher_protocol::serve::{
    BodyItem, BuildOptions, ClientSession, CommandError, Config, Request, Response, ServerEvent,
    ServerSession, SessionError, Version,
};
use musher_protocol::types::{BasicDerivation, BuildResult, BuildStatus, NarHash, PathInfo};
use musher_protocol::wire::{Encoder, Limits, decode};
use nix_derivation::{StoreDir, StorePath};

const CLIENT_MAGIC: u64 = 0x390c_9deb;
const SERVER_MAGIC: u64 = 0x5452_eecb;

fn path(name: &str) -> StorePath {
    StorePath::from_parts([0; 20], name).expect("the tests use valid names")
}

fn config() -> Config {
    Config::new(StoreDir::default())
}

fn encoded(write: impl FnOnce(&mut Encoder)) -> Bytes {
    let mut e = Encoder::new(StoreDir::default());
    write(&mut e);
    e.take()
}

/// The error with its causes, and the help.
fn story(error: &SessionError) -> String {
    let mut story = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        story += &format!("\ncause: {error}");
        cause = error.source();
    }
    if let Some(help) = error.help() {
        story += &format!("\nhelp: {help}");
    }
    story
}

/// A client that asked `requests`.
fn client(requests: &[Request]) -> ClientSession {
    let mut client = ClientSession::new(config());
    client.receive(&encoded(|e| {
        e.u64(SERVER_MAGIC);
        e.u64(0x208);
    }));
    assert!(matches!(client.next_event(), Some(Ok(_))));
    for request in requests {
        client.request(request).expect("it is ready");
    }
    client
}

/// What the client says of a server that says this and hangs up.
#[track_caller]
fn check_client(mut client: ClientSession, says: &[u8], expected: &Expect) {
    client.receive(says);
    client.end();
    loop {
        match client.next_event() {
            Some(Ok(_)) => {}
            Some(Err(error)) => break expected.assert_eq(&story(&error)),
            None => panic!("no error"),
        }
    }
    assert_eq!(client.next_event(), None, "an error is the end");
}

fn server() -> ServerSession {
    let mut server = ServerSession::new(config());
    server.receive(&encoded(|e| {
        e.u64(CLIENT_MAGIC);
        e.u64(0x208);
    }));
    assert!(matches!(server.next_event(), Some(Ok(_))));
    server
}

/// What the server says of a client that says this and hangs up.
#[track_caller]
fn check_server(mut server: ServerSession, says: &[u8], expected: &Expect) {
    server.receive(says);
    server.end();
    loop {
        match server.next_event() {
            Some(Ok(event)) => assert_ne!(event, ServerEvent::Closed, "no error"),
            Some(Err(error)) => break expected.assert_eq(&story(&error)),
            None => panic!("no error"),
        }
    }
    assert_eq!(server.next_event(), None, "an error is the end");
}

#[test]
fn a_banner_is_shown() {
    check_client(
        ClientSession::new(config()),
        b"Welcome to builder-7!\nLast login: yesterday\n",
        &expect![[r#"
            the peer does not speak the serve protocol: it said `Welcome to builder-7!`
            help: see that the login shell there prints nothing of its own, and that `nix-store --serve --write` is what it runs"#]],
    );
    check_client(
        ClientSession::new(config()),
        b"hi",
        &expect![[r#"
            the peer does not speak the serve protocol: it said `hi`
            help: see that the login shell there prints nothing of its own, and that `nix-store --serve --write` is what it runs"#]],
    );
    check_server(
        ServerSession::new(config()),
        b"GET / HTTP/1.1\r\n",
        &expect![[r#"
            the peer does not speak the serve protocol: it said `GET / HTTP/1.1`
            help: see that the login shell there prints nothing of its own, and that `nix-store --serve --write` is what it runs"#]],
    );
}

#[test]
fn a_handshake_can_fail() {
    check_client(
        ClientSession::new(config()),
        b"",
        &expect![[r#"
            the peer closed the connection before the serve protocol began
            help: its standard error output says why"#]],
    );
    let version = |number| {
        encoded(|e| {
            e.u64(SERVER_MAGIC);
            e.u64(number);
        })
    };
    check_client(
        ClientSession::new(config()),
        &version(0x204),
        &expect![[r#"
            the peer speaks serve protocol 2.4, not 2.5 or newer
            help: install Nix 2.3 or newer there"#]],
    );
    check_client(
        ClientSession::new(config()),
        &version(0x300),
        &expect!["the peer speaks serve protocol 3.0, not 2.5 or newer"],
    );
    check_client(
        ClientSession::new(config()),
        &version(0x205)[..12],
        &expect![[r#"
            the peer closed the connection before the serve protocol began
            help: its standard error output says why"#]],
    );
}

#[test]
fn a_newer_version_is_met_halfway() {
    let mut client = ClientSession::new(config());
    client.receive(&encoded(|e| {
        e.u64(SERVER_MAGIC);
        e.u64(0x20b);
    }));
    let event = client.next_event();
    assert_eq!(
        format!("{event:?}"),
        format!(
            "Some(Ok(Ready(Negotiated {{ version: {:?} }})))",
            Version::MAX
        )
    );
}

#[test]
fn an_answer_can_be_wrong() {
    let query = Request::QueryValidPaths {
        lock: false,
        substitute: false,
        paths: BTreeSet::new(),
    };
    let asked = || client(std::slice::from_ref(&query));
    check_client(
        asked(),
        b"",
        &expect![[r#"
            the peer closed the connection before it answered `QueryValidPaths`
            help: its standard error output says why"#]],
    );
    check_client(
        asked(),
        &encoded(|e| {
            e.count(1);
            e.string("/elsewhere/x");
        }),
        &expect![[r#"
            cannot read the answer to `QueryValidPaths`
            cause: bad `valid paths` at offset 24: expected a store path below `/nix/store`, found `/elsewhere/x` (path is outside the configured store directory)"#]],
    );
    check_client(
        asked(),
        &encoded(|e| e.u64(u64::MAX)),
        &expect![[r#"
            cannot read the answer to `QueryValidPaths`
            cause: bad `valid paths` at offset 16: expected at most 1048576 items, found 18446744073709551615"#]],
    );
    check_client(
        asked(),
        &encoded(|e| {
            e.count(1);
            e.u64(1 << 40);
        }),
        &expect![[r#"
            cannot read the answer to `QueryValidPaths`
            cause: bad `valid paths` at offset 24: expected a string of at most 65536 bytes, found 1099511627776 bytes"#]],
    );
    check_client(
        client(&[]),
        &encoded(|e| e.u64(1)),
        &expect!["the peer sent data that answers no request, at offset 16"],
    );
    let dump = Request::DumpStorePath { path: path("x") };
    check_client(
        client(std::slice::from_ref(&dump)),
        &encoded(|e| e.string("nix-archive-2")),
        &expect![[r#"
            cannot read the answer to `DumpStorePath`
            cause: bad `NAR` at offset 16: expected `nix-archive-1`, found `nix-archive-2`"#]],
    );
    let nar = nars::directory(b"bin", b"some content");
    check_client(
        client(std::slice::from_ref(&dump)),
        &nar[..nar.len() - 8],
        &expect![[r#"
            the peer closed the connection before it answered `DumpStorePath`
            help: its standard error output says why"#]],
    );
    let build = Request::BuildDerivation {
        drv_path: path("x.drv"),
        derivation: BasicDerivation {
            outputs: BTreeMap::new(),
            input_sources: BTreeSet::new(),
            system: String::new(),
            builder: String::new(),
            args: Vec::new(),
            env: BTreeMap::new(),
        },
        options: BuildOptions::default(),
    };
    check_client(
        client(&[build]),
        &encoded(|e| e.u64(99)),
        &expect![[r#"
            cannot read the answer to `BuildDerivation`
            cause: bad `build status` at offset 16: expected a build status, 0 to 14, found 99"#]],
    );
}

#[test]
fn a_request_can_be_wrong() {
    check_server(
        server(),
        &encoded(|e| e.u64(5)),
        &expect![[r#"
            cannot read a request
            cause: bad `command` at offset 16: expected a command, 1 to 4 or 6 to 9, found 5 (ExportPaths, which Nix no longer has)"#]],
    );
    check_server(
        server(),
        &encoded(|e| e.u64(10)),
        &expect![[r#"
            cannot read a request
            cause: bad `command` at offset 16: expected a command, 1 to 4 or 6 to 9, found 10"#]],
    );
    check_server(
        server(),
        &encoded(|e| {
            e.u64(4);
            e.u64(2);
        }),
        &expect![[r#"
            cannot read the data of `ImportPaths`
            cause: bad `more paths` at offset 24: expected 0 or 1, found 2"#]],
    );
    check_server(
        server(),
        &encoded(|e| {
            e.u64(4);
            e.u64(1);
            e.raw(&nars::file(b""));
            e.u64(7);
        }),
        &expect![[r#"
            cannot read the data of `ImportPaths`
            cause: bad `export magic` at offset 144: expected 0x4558494e, found 0x7"#]],
    );
    check_server(
        server(),
        &encoded(|e| {
            Request::AddToStoreNar { info: info(100) }.encode(e, Version::MAX);
            e.raw(&[0; 99]);
        }),
        &expect![[r#"
            cannot read the data of `AddToStoreNar`
            cause: bad `NAR` at offset 307: expected more data, found the end of the stream"#]],
    );
}

#[test]
fn an_endless_answer_meets_the_limit() {
    let limits = Limits {
        message: 10_000,
        ..Limits::default()
    };
    let mut client = ClientSession::new(Config { limits, ..config() });
    client.receive(&encoded(|e| {
        e.u64(SERVER_MAGIC);
        e.u64(0x208);
    }));
    assert!(matches!(client.next_event(), Some(Ok(_))));
    let paths = BTreeSet::new();
    let request = Request::QueryPathInfos { paths };
    client.request(&request).expect("it is ready");
    let infos = Response::PathInfos(vec![info(1); 100]);
    check_client(
        client,
        &encoded(|e| infos.encode(e, Version::MAX)),
        &expect![[r#"
            cannot read the answer to `QueryPathInfos`
            cause: bad `NAR hash` at offset 12952: expected a string of at most 3 bytes, found 59 bytes"#]],
    );
}

#[test]
fn a_realisation_is_small() {
    let realisation = encoded(|e| {
        e.count(1);
        e.string(&format!("sha256:{}!out", "0".repeat(64)));
        e.string(&"[".repeat((1 << 20) + 1));
    });
    let error = decode(&realisation, &StoreDir::default(), async |d| {
        d.built_outputs_json().await
    });
    assert_eq!(
        error.expect_err("it is large").to_string(),
        "bad `built output realisation` at offset 96: \
         expected a realisation of at most 1048576 bytes, found 1048577 bytes"
    );
}

#[test]
fn input_is_held_back_while_events_wait() {
    let mut client = client(&[Request::DumpStorePath { path: path("x") }]);
    let nar = nars::file(&vec![7; 1 << 20]);
    let mut rest = nar.as_slice();
    let mut received = 0;
    while !rest.is_empty() {
        while client.wants_input() && !rest.is_empty() {
            let (piece, later) = rest.split_at(rest.len().min(10_000));
            client.receive(piece);
            rest = later;
        }
        while let Some(event) = client.next_event() {
            if let Ok(musher_protocol::serve::ClientEvent::Nar(bytes)) = event {
                assert!(bytes.len() <= 64 << 10, "chunks are small");
                received += bytes.len();
            }
        }
        let sent = nar.len() - rest.len();
        assert!(sent - received <= 80_000, "{} bytes wait", sent - received);
    }
    assert_eq!(received, nar.len());
}

fn info(nar_size: u64) -> PathInfo {
    PathInfo {
        path: path("x"),
        deriver: None,
        nar_hash: NarHash([0; 32]),
        nar_size,
        references: BTreeSet::new(),
        registration_time: 0,
        ultimate: false,
        signatures: BTreeSet::new(),
        ca: None,
    }
}

#[track_caller]
fn refused(result: Result<(), CommandError>, expected: &str) {
    let error = result.expect_err("this is not in order");
    assert_eq!(error.to_string(), expected);
}

fn chunk(bytes: &[u8]) -> BodyItem {
    BodyItem::Chunk(Bytes::copy_from_slice(bytes))
}

#[test]
fn a_client_keeps_its_owner_in_order() {
    let mut client = ClientSession::new(config());
    refused(
        client.request(&Request::ImportPaths),
        "cannot send a request before the session is ready",
    );
    let mut client = self::client(&[]);
    refused(
        client.body(&BodyItem::End),
        "cannot send data that belongs to no request",
    );
    let add = Request::AddToStoreNar { info: info(10) };
    client.request(&add).expect("it is ready");
    refused(
        client.request(&add),
        "cannot send a request before the data of `AddToStoreNar` has ended",
    );
    client.body(&chunk(&[0; 8])).expect("8 bytes fit");
    refused(
        client.body(&chunk(&[0; 3])),
        "cannot send a NAR of 11 bytes: 10 bytes were announced",
    );
    refused(
        client.body(&BodyItem::End),
        "cannot send a NAR of 8 bytes: 10 bytes were announced",
    );
    client.body(&chunk(&[0; 2])).expect("2 bytes are missing");
    client.body(&BodyItem::End).expect("it is complete");

    client.request(&Request::ImportPaths).expect("it is ready");
    let nar = nars::file(b"content");
    client.body(&chunk(&nar[..50])).expect("it is a NAR");
    refused(
        client.body(&BodyItem::End),
        "cannot send this in the data of `ImportPaths`: expected the path whose NAR was sent",
    );
    let mut more = nar[50..].to_vec();
    more.push(0);
    refused(client.body(&chunk(&more)), "cannot send what is no NAR");
    more.pop();
    client.body(&chunk(&more)).expect("it is the rest of it");
}

#[test]
fn a_server_keeps_its_owner_in_order() {
    let mut server = server();
    refused(
        server.reply(&Response::Added(true)),
        "cannot answer `AddToStoreNar`: nothing is to be answered",
    );
    let dump = Request::DumpStorePath { path: path("x") };
    server.receive(&encoded(|e| dump.encode(e, Version::MAX)));
    assert!(matches!(server.next_event(), Some(Ok(_))));
    let result = BuildResult::new(BuildStatus::Built, "");
    refused(
        server.reply(&Response::Built(result)),
        "cannot answer `BuildDerivation`: `DumpStorePath` is to be answered",
    );
    let nar = nars::file(b"content");
    refused(server.nar(&nar), "cannot send a NAR that nobody waits for");
    server.reply(&Response::Nar).expect("it is asked for");
    refused(
        server.reply(&Response::Nar),
        "cannot answer `DumpStorePath`: nothing is to be answered",
    );
    server.nar(&nar[..30]).expect("it is a NAR");
    refused(server.nar(&nar), "cannot send what is no NAR");
    server.nar(&nar[30..]).expect("it is the rest of it");
    refused(server.nar(&nar), "cannot send a NAR that nobody waits for");
    assert!(!server.is_serving());
}
