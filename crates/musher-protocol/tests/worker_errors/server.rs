//! The server's end.

use std::collections::BTreeSet;

use musher_protocol::types::Text;
use musher_protocol::wire::Limits;
use musher_protocol::worker::{
    CommandError, Level, Message, RemoteError, Request, Response, ServerEvent, ServerSession,
};

use crate::{
    ERROR, LAST, add, chunk, encoder, ends, error_bytes, event, nars, path, request_bytes, server,
    server_with, words,
};

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

#[test]
fn a_client_may_break_off_when_it_hears_of_a_failure() {
    let mut session = server(38);
    let mut inside = encoder();
    inside.u64(1);
    let mut body = encoder();
    body.frame(&inside.take());
    session.receive(&words(&[44, 0, 0]));
    session.receive(&body.take());
    assert!(matches!(event(&mut session), ServerEvent::Request(_)));
    assert_eq!(session.next_event(), None);
    session.fail(&RemoteError::new("disk full")).unwrap();
    session.receive(&words(&[0, 13]));
    assert_eq!(
        event(&mut session),
        ServerEvent::Request(Request::SyncWithGc)
    );
}
