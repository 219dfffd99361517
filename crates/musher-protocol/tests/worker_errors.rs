//! What the worker protocol's sessions make of peers and owners that do not
//! do as they should.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

#[path = "common/nars.rs"]
mod nars;

use std::collections::BTreeSet;
use std::error::Error;

use bytes::Bytes;
use musher_protocol::types::{NarHash, PathInfo, Text};
use musher_protocol::wire::{Encoder, Limits};
use musher_protocol::worker::{
    BodyItem, ClientConfig, ClientEvent, ClientSession, CommandError, Dialect, Level, Message,
    RemoteError, Request, Response, ServerConfig, ServerEvent, ServerSession, SessionError,
    Version,
};
use nix_derivation::{StoreDir, StorePath};

const CLIENT_MAGIC: u64 = 0x6e69_7863;
const SERVER_MAGIC: u64 = 0x6478_696f;
const LAST: u64 = 0x616c_7473;
const READ: u64 = 0x6461_7461;
const ERROR: u64 = 0x6378_7470;

fn encoder() -> Encoder {
    Encoder::new(StoreDir::default())
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn path(name: &str) -> StorePath {
    StorePath::from_parts([0; 20], name).unwrap()
}

fn info(name: &str, nar_size: u64) -> PathInfo {
    PathInfo {
        path: path(name),
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

fn chunk(bytes: &[u8]) -> BodyItem {
    BodyItem::Chunk(Bytes::copy_from_slice(bytes))
}

fn add(nar_size: u64) -> Request {
    Request::AddToStoreNar {
        info: info("added", nar_size),
        repair: false,
        dont_check_sigs: false,
    }
}

/// A client that has shaken hands with a server of `1.minor`.
fn client(minor: u8) -> ClientSession {
    let config = ClientConfig {
        max_version: Version::minor(minor),
        ..ClientConfig::new(StoreDir::default())
    };
    let mut session = ClientSession::new(config);
    session.receive(&words(&[SERVER_MAGIC, Version::minor(minor).to_wire()]));
    let mut rest = encoder();
    if minor >= 38 {
        rest.u64(0);
    }
    if minor >= 33 {
        rest.string("2.99");
    }
    if minor >= 35 {
        rest.u64(0);
    }
    rest.u64(LAST);
    session.receive(&rest.take());
    let ready = session.next_event();
    assert!(
        matches!(ready, Some(Ok(ClientEvent::Ready(_)))),
        "{ready:?}"
    );
    session.take_output();
    session
}

/// A server that has shaken hands with a client of `1.minor`.
fn server(minor: u8) -> ServerSession {
    server_with(minor, Limits::default())
}

fn server_with(minor: u8, limits: Limits) -> ServerSession {
    let mut session = ServerSession::new(ServerConfig {
        limits,
        ..ServerConfig::new(StoreDir::default(), "2.99")
    });
    session.receive(&words(&[CLIENT_MAGIC, Version::minor(minor).to_wire()]));
    if minor >= 38 {
        session.receive(&words(&[0]));
    }
    session.receive(&words(&[0, 0]));
    let ready = session.next_event();
    assert!(
        matches!(ready, Some(Ok(ServerEvent::Ready(_)))),
        "{ready:?}"
    );
    session.take_output();
    session
}

/// The error that `next` ends with, and what it is due to.
#[track_caller]
fn ends<E>(next: Option<Result<E, SessionError>>, expected: &str)
where
    E: std::fmt::Debug,
{
    let error = next.unwrap().unwrap_err();
    let cause = error.source().map(|cause| format!(": {cause}"));
    assert_eq!(format!("{error}{}", cause.unwrap_or_default()), expected);
}

fn event(session: &mut ServerSession) -> ServerEvent {
    session.next_event().unwrap().unwrap()
}

fn request_bytes(request: &Request, minor: u8) -> Bytes {
    let mut to = encoder();
    let dialect = Dialect::plain(Version::minor(minor));
    request.encode(&dialect, &mut to).unwrap();
    to.take()
}

/// An error as it stands on the wire of a new version.
fn error_bytes(message: &str) -> Bytes {
    let mut to = encoder();
    to.u64(ERROR);
    RemoteError::new(message).encode(&Dialect::plain(Version::MAX), &mut to);
    to.take()
}

#[test]
fn a_banner_is_shown() {
    let mut session = ClientSession::new(ClientConfig::new(StoreDir::default()));
    session.receive(b"Welcome to bigbox, have a nice day\n");
    let error = session.next_event().unwrap().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the peer does not speak the Nix worker protocol: it begins with `Welcome to bigbox, \
         have a nice day\n`"
    );
    assert!(error.help().unwrap().contains("banner"));
    assert_eq!(session.next_event(), None);
    assert_eq!(
        session.request(Request::SyncWithGc),
        Err(CommandError::Over)
    );
}

#[test]
fn a_short_banner_is_shown_at_its_end() {
    let mut session = ClientSession::new(ClientConfig::new(StoreDir::default()));
    session.receive(b"hi\n");
    assert_eq!(session.next_event(), None);
    session.end();
    ends(
        session.next_event(),
        "the peer does not speak the Nix worker protocol: it begins with `hi\n`",
    );
}

#[test]
fn silence_is_the_end() {
    let mut session = ClientSession::new(ClientConfig::new(StoreDir::default()));
    session.end();
    ends(
        session.next_event(),
        "the peer closed the connection before it said anything",
    );
    let mut session = ServerSession::new(ServerConfig::new(StoreDir::default(), "2.99"));
    session.end();
    ends(
        session.next_event(),
        "the peer closed the connection before it said anything",
    );
}

#[test]
fn old_and_foreign_versions_are_refused() {
    for (version, shown) in [(0x010a, "1.10"), (0x0226, "2.38"), (0, "0.0")] {
        let expected = format!(
            "the peer speaks version {shown} of the Nix worker protocol, and 1.21 is the \
             oldest that will do"
        );
        let mut session = ClientSession::new(ClientConfig::new(StoreDir::default()));
        session.receive(&words(&[SERVER_MAGIC, version]));
        ends(session.next_event(), &expected);

        let mut session = ServerSession::new(ServerConfig::new(StoreDir::default(), "2.99"));
        session.receive(&words(&[CLIENT_MAGIC, version]));
        ends(session.next_event(), &expected);
        // The client is told, in the form of its time.
        let mut said = encoder();
        said.raw(&words(&[SERVER_MAGIC, Version::MAX.to_wire(), ERROR]));
        said.string(&expected);
        said.u64(1);
        assert_eq!(session.take_output(), said.take());
    }
}

#[test]
fn a_newer_peer_comes_down() {
    let mut session = ServerSession::new(ServerConfig::new(StoreDir::default(), "2.99"));
    session.receive(&words(&[CLIENT_MAGIC, 0x0163, 0, 1, 7, 0]));
    let ServerEvent::Ready(ready) = event(&mut session) else {
        panic!("the handshake is done")
    };
    assert_eq!(ready.version, Version::MAX);
}

#[test]
fn a_server_may_reject_the_client_at_its_start() {
    let mut session = ClientSession::new(ClientConfig::new(StoreDir::default()));
    session.receive(&words(&[SERVER_MAGIC, Version::MAX.to_wire(), 0]));
    let mut rest = encoder();
    rest.string("2.99");
    rest.u64(2);
    Message::Next(Text::from("starting")).encode(&mut rest);
    rest.raw(&error_bytes("not you"));
    session.receive(&rest.take());
    let message = Message::Next(Text::from("starting"));
    assert_eq!(
        session.next_event(),
        Some(Ok(ClientEvent::Message(message)))
    );
    ends(
        session.next_event(),
        "the server refuses the connection: not you",
    );
}

#[test]
fn features_that_are_unknown_or_not_offered_do_not_count() {
    let config = ServerConfig::new(StoreDir::default(), "2.99");
    let mut session = ServerSession::new(config);
    let mut hello = encoder();
    hello.raw(&words(&[CLIENT_MAGIC, Version::MAX.to_wire()]));
    let features = ["disable-set-options", "flying", "submit-output"];
    hello.strings(&features.map(str::to_owned));
    hello.raw(&words(&[0, 0]));
    session.receive(&hello.take());
    let ServerEvent::Ready(ready) = event(&mut session) else {
        panic!("the handshake is done")
    };
    assert_eq!(ready.features, BTreeSet::new());
}

#[test]
fn a_server_that_speaks_unasked_is_left() {
    let mut session = client(38);
    session.receive(&words(&[LAST]));
    ends(
        session.next_event(),
        "the peer sent data at offset 56 that nothing had asked for",
    );
}

#[test]
fn the_end_in_the_middle_of_an_answer_is_said() {
    let mut session = client(38);
    session.request(Request::IsValidPath(path("x"))).unwrap();
    assert_eq!(session.next_event(), None);
    assert_eq!(session.in_flight(), 1);
    session.receive(&words(&[LAST]));
    session.end();
    ends(
        session.next_event(),
        "the peer closed the connection in the middle of its answer",
    );
}

#[test]
fn an_unknown_message_is_an_error() {
    let mut session = client(38);
    session.request(Request::SyncWithGc).unwrap();
    session.receive(&words(&[0x1234]));
    ends(
        session.next_event(),
        "cannot understand the peer's log: bad `start of a message` at offset 56: \
         expected a log message, an error or the end of the log, found 0x1234",
    );
}

#[test]
fn content_is_not_sent_unless_it_is_there() {
    let mut session = client(22);
    session.request(Request::SyncWithGc).unwrap();
    session.receive(&words(&[READ, 100]));
    ends(
        session.next_event(),
        "the server asks for content at offset 24, and there is none to send",
    );
}

#[test]
fn a_failure_in_the_place_of_a_nar_is_heard() {
    let nar = nars::file(b"hello");
    // Stock Nix writes the first word before it looks for the file.
    for sent in [0, 24] {
        let mut session = client(38);
        session.request(Request::NarFromPath(path("x"))).unwrap();
        session.request(Request::SyncWithGc).unwrap();
        session.receive(&words(&[LAST]));
        session.receive(&nar[..sent]);
        let begun = session.next_event();
        assert_eq!(begun.is_some(), sent > 0, "{begun:?}");
        session.receive(&error_bytes("`x` is not valid"));
        // Stock Nix says it twice.
        session.receive(&error_bytes("`x` is not valid"));
        let error = RemoteError::new("`x` is not valid");
        assert_eq!(session.next_event(), Some(Ok(ClientEvent::Failed(error))));
        assert_eq!(session.in_flight(), 1);
        ends(
            session.next_event(),
            "the peer closed the connection because it could not send a NAR",
        );
    }
}

#[test]
fn a_broken_nar_is_noticed() {
    let mut session = client(38);
    session.request(Request::NarFromPath(path("x"))).unwrap();
    session.receive(&words(&[LAST]));
    let mut nar = nars::directory(b"tool", b"#!/bin/sh\n");
    nar[8] = b'N';
    session.receive(&nar);
    ends(
        session.next_event(),
        "cannot understand the peer's NAR: bad `NAR` at offset 64: expected `nix-archive-1`, \
         found `Nix-archive-1`",
    );
}

#[test]
fn a_failed_upload_is_cut_short() {
    let mut session = client(38);
    session.request(add(100)).unwrap();
    session.body(chunk(&[7; 10])).unwrap();
    session.take_output();
    session.receive(&error_bytes("disk full"));
    let failed = session.next_event();
    let error = RemoteError::new("disk full");
    assert_eq!(failed, Some(Ok(ClientEvent::Failed(error))));
    // The frames are ended, and what still comes of the body is dropped.
    assert_eq!(session.take_output(), words(&[0]));
    session.body(chunk(&[7; 10])).unwrap();
    session.body(BodyItem::End).unwrap();
    assert_eq!(session.take_output(), "");
    assert_eq!(session.body(BodyItem::End), Err(CommandError::NoBody));
    // The session goes on.
    session.request(Request::SyncWithGc).unwrap();
    session.receive(&words(&[LAST, 1]));
    let done = ClientEvent::Reply(Response::Unit);
    assert_eq!(session.next_event(), Some(Ok(done)));
}

#[test]
fn a_bare_nar_cannot_be_cut_short() {
    let mut session = client(24);
    let request = Request::AddNarToStore {
        name: "x".to_owned(),
        recursive: true,
        algorithm: "sha256".to_owned(),
    };
    session.request(request).unwrap();
    session.body(chunk(&nars::file(b"hello")[..20])).unwrap();
    let mut said = encoder();
    said.u64(ERROR);
    said.string("no");
    said.u64(1);
    session.receive(&said.take());
    let error = RemoteError::new("no");
    assert_eq!(session.next_event(), Some(Ok(ClientEvent::Failed(error))));
    ends(
        session.next_event(),
        "the peer closed the connection by failing in the middle of a NAR that it was sent",
    );
}

#[test]
fn bodies_are_checked_before_they_are_sent() {
    let mut session = client(38);
    assert_eq!(session.body(BodyItem::End), Err(CommandError::NoBody));
    session.request(add(10)).unwrap();
    let refused = |session: &mut ClientSession, item, message: &str| {
        assert_eq!(session.body(item).unwrap_err().to_string(), message);
    };
    refused(
        &mut session,
        chunk(&[7; 11]),
        "the body of a request goes on with 10 more bytes, not with 11 bytes",
    );
    refused(
        &mut session,
        BodyItem::Path(info("x", 1)),
        "the body of a request goes on with 10 more bytes, not with a path",
    );
    session.body(chunk(&[7; 10])).unwrap();
    refused(
        &mut session,
        chunk(&[7; 1]),
        "the body of a request goes on with its end, not with 1 bytes",
    );
    session.body(BodyItem::End).unwrap();

    let many = Request::AddMultipleToStore {
        repair: false,
        dont_check_sigs: false,
        count: 2,
    };
    session.request(many).unwrap();
    refused(
        &mut session,
        chunk(b"x"),
        "the body of a request goes on with 2 more paths, not with 1 bytes",
    );
    session.body(BodyItem::Path(info("x", 3))).unwrap();
    refused(
        &mut session,
        BodyItem::Path(info("y", 3)),
        "the body of a request goes on with 3 more bytes of a NAR, not with a path",
    );
}

#[test]
fn what_a_version_cannot_say_is_refused() {
    let mut session = client(34);
    let request = Request::AddPermRoot {
        path: path("x"),
        link: Text::from("/root/link"),
    };
    let error = session.request(request.clone()).unwrap_err();
    let cause = error.source().unwrap().to_string();
    assert_eq!(
        cause,
        "the peer cannot be asked for `AddPermRoot`: it speaks version 1.34, which lacks it \
         (since 1.36)"
    );
    assert_eq!(session.take_output(), "");
    assert_eq!(session.in_flight(), 0);

    // Asked too early to know, it is refused in its turn, body and all.
    let mut session = ClientSession::new(ClientConfig::new(StoreDir::default()));
    let many = Request::AddMultipleToStore {
        repair: false,
        dont_check_sigs: false,
        count: 1,
    };
    session.request(Request::SyncWithGc).unwrap();
    session.request(many).unwrap();
    session.body(BodyItem::Path(info("x", 1))).unwrap();
    session.request(Request::OptimiseStore).unwrap();
    session.take_output();
    session.receive(&words(&[SERVER_MAGIC, 0x0115, LAST, LAST, 1, LAST, 1]));
    let mut events = std::iter::from_fn(|| session.next_event());
    assert!(matches!(events.next(), Some(Ok(ClientEvent::Ready(_)))));
    let done = Some(Ok(ClientEvent::Reply(Response::Unit)));
    assert_eq!(events.next(), done);
    let refused = events.next();
    assert!(
        matches!(refused, Some(Ok(ClientEvent::Refused(_)))),
        "{refused:?}"
    );
    assert_eq!(events.next(), done);
    assert_eq!(events.next(), None);
    let sync_and_optimise = words(&[0, 0, 13, 34]);
    assert_eq!(session.take_output(), sync_and_optimise);
}

#[test]
fn an_unknown_operation_ends_the_session() {
    for number in [2, 48, 1000] {
        let mut session = server(38);
        session.receive(&words(&[number]));
        let expected = format!(
            "cannot understand the peer's request: bad `operation` at offset 40: expected an \
             operation of version 1.38, found {number}"
        );
        ends(session.next_event(), &expected);
        assert_eq!(session.take_output(), error_bytes(&expected));
    }
}

#[test]
fn lengths_are_limited_before_anything_is_held() {
    let limits = Limits {
        short: 100,
        long: 200,
        items: 10,
        message: 300,
        frame: 1000,
    };
    let cases: [(&[u64], &str); 4] = [
        (
            &[1, u64::MAX],
            "cannot understand the peer's request: bad `path` at offset 48: expected a string \
             of at most 100 bytes, found 18446744073709551615 bytes",
        ),
        (
            &[31, 11],
            "cannot understand the peer's request: bad `paths` at offset 48: expected at most \
             10 items, found 11",
        ),
        (
            &[8, 0, 201],
            "cannot understand the peer's request: bad `text` at offset 56: expected a string \
             of at most 200 bytes, found 201 bytes",
        ),
        (
            &[44, 0, 0, 1001],
            "cannot understand the peer's body of a request: bad `frame length` at offset 64: \
             expected a frame of at most 1000 bytes, found 1001",
        ),
    ];
    for (input, expected) in cases {
        let mut session = server_with(38, limits);
        session.receive(&words(input));
        ends(session.next_event(), expected);
    }
}

#[test]
fn the_end_in_the_middle_of_a_request_is_said() {
    let mut session = server(38);
    session.receive(&words(&[1, 8]));
    session.end();
    ends(
        session.next_event(),
        "the peer closed the connection in the middle of its request",
    );
}

#[test]
fn paths_that_do_not_fit_their_frames_are_refused() {
    let mut body = encoder();
    let mut inside = encoder();
    inside.u64(1);
    inside.path(&path("x"));
    inside.string("");
    inside.string("not a hash");
    body.frame(&inside.take());
    body.frame(&[0; 100]);
    body.end_frames();
    let mut session = server(38);
    session.receive(&words(&[44, 0, 0]));
    session.receive(&body.take());
    assert!(matches!(event(&mut session), ServerEvent::Request(_)));
    let expected = "cannot understand the peer's framed data: bad `NAR hash` at offset 72: \
                    expected a SHA-256 digest, found `not a hash`";
    ends(session.next_event(), expected);
    // All frames were read, so the client hears of it.
    assert_eq!(session.take_output(), error_bytes(expected));
    assert!(session.reply(&Response::Unit).is_err());
}

#[test]
fn frames_that_go_on_after_the_last_path_are_refused() {
    let mut session = server(38);
    session.receive(&words(&[44, 0, 0, 16, 0, 7, 0]));
    assert!(matches!(event(&mut session), ServerEvent::Request(_)));
    ends(
        session.next_event(),
        "cannot understand the peer's framed data: bad `framed data` at offset 8: expected \
         the end after 0 paths, found more data",
    );
}

#[test]
fn requests_wait_until_the_one_before_is_answered() {
    let mut session = server(38);
    session.receive(&words(&[13, 34]));
    let flood = request_bytes(&Request::IsValidPath(path("x")), 38);
    while session.wants_input() {
        session.receive(&flood);
    }
    assert_eq!(
        event(&mut session),
        ServerEvent::Request(Request::SyncWithGc)
    );
    assert_eq!(session.next_event(), None);
    assert!(session.is_serving() && !session.wants_input());
    session.reply(&Response::Unit).unwrap();
    let second = ServerEvent::Request(Request::OptimiseStore);
    assert_eq!(event(&mut session), second);
}

#[test]
fn a_long_message_is_read_on_though_much_of_it_waits() {
    let mut session = server(38);
    let request = Request::AddTextToStore {
        name: "x".to_owned(),
        text: Text::from("y".repeat(1 << 20)),
        references: BTreeSet::new(),
    };
    for piece in request_bytes(&request, 38).chunks(1000) {
        assert!(session.wants_input());
        assert_eq!(session.next_event(), None);
        session.receive(piece);
    }
    assert_eq!(event(&mut session), ServerEvent::Request(request));
}

#[test]
fn commands_need_a_request() {
    let mut session = server(38);
    let message = Message::Next(Text::from("x"));
    let error = RemoteError::new("x");
    let refused = |refused: Result<(), CommandError>, message: &str| {
        assert_eq!(refused.unwrap_err().to_string(), message);
    };
    refused(
        session.message(&message),
        "no request waits for a log message",
    );
    refused(
        session.reply(&Response::Unit),
        "no request waits for an answer",
    );
    refused(session.fail(&error), "no request waits for an error");
    refused(session.nar(b"x"), "no request waits for a NAR");
    assert_eq!(session.take_output(), "");
}

#[test]
#[should_panic(expected = "bug: Bool(true) is no answer to SyncWithGc")]
fn an_answer_to_something_else_is_a_bug() {
    let mut session = server(38);
    session.receive(&words(&[13]));
    event(&mut session);
    drop(session.reply(&Response::Bool(true)));
}

/// A server whose client waits for a NAR that was promised.
fn sending_nar() -> ServerSession {
    let mut session = server(38);
    session.receive(&request_bytes(&Request::NarFromPath(path("x")), 38));
    event(&mut session);
    session.reply(&Response::Nar).unwrap();
    assert_eq!(session.take_output(), words(&[LAST]));
    session
}

#[test]
fn a_nar_that_is_not_there_is_said_in_its_place() {
    let mut session = sending_nar();
    session.fail(&RemoteError::new("gone")).unwrap();
    assert_eq!(session.take_output(), error_bytes("gone"));
    assert_eq!(event(&mut session), ServerEvent::Closed);
}

#[test]
fn a_nar_that_breaks_off_ends_the_session() {
    let mut session = sending_nar();
    let nar = nars::file(b"hello");
    session.nar(&nar[..50]).unwrap();
    session.fail(&RemoteError::new("gone")).unwrap();
    assert_eq!(session.take_output(), nar[..50]);
    assert_eq!(event(&mut session), ServerEvent::Closed);
}

#[test]
fn a_nar_is_followed_by_nothing() {
    let mut session = sending_nar();
    let mut nar = nars::file(b"hello");
    nar.push(0);
    let error = session.nar(&nar).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the body of a request goes on with its end, not with 1 bytes"
    );
}

#[test]
fn a_failure_is_heard_by_old_clients_too() {
    let mut session = server(25);
    session.receive(&words(&[13]));
    event(&mut session);
    session
        .fail(&RemoteError {
            level: Level::WARN,
            status: 100,
            ..RemoteError::new("no")
        })
        .unwrap();
    let mut said = encoder();
    said.u64(ERROR);
    said.string("no");
    said.u64(100);
    assert_eq!(session.take_output(), said.take());
}

#[test]
fn the_rest_of_a_failed_body_is_dropped() {
    let mut session = server(38);
    session.receive(&request_bytes(&add(30), 38));
    session.receive(&words(&[8, 1]));
    let first = [event(&mut session), event(&mut session)];
    assert!(matches!(first[0], ServerEvent::Request(_)));
    assert_eq!(first[1], ServerEvent::Body(chunk(&words(&[1]))));
    session.fail(&RemoteError::new("disk full")).unwrap();
    assert_eq!(session.take_output(), error_bytes("disk full"));
    session.receive(&words(&[16, 2, 3]));
    assert_eq!(session.next_event(), None);
    session.receive(&words(&[0, 13]));
    assert_eq!(
        event(&mut session),
        ServerEvent::Request(Request::SyncWithGc)
    );
}
