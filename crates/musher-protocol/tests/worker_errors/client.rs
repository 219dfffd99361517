//! The client's end.

use std::error::Error;

use musher_protocol::types::Text;
use musher_protocol::worker::{
    BodyItem, ClientConfig, ClientEvent, ClientSession, CommandError, RemoteError, Request,
    Response,
};
use nix_derivation::StoreDir;

use crate::{
    ERROR, LAST, READ, SERVER_MAGIC, add, chunk, client, encoder, ends, error_bytes, info, nars,
    path, words,
};

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
