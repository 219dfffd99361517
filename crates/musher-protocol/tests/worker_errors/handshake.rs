//! Handshakes that go wrong, or nearly.

use std::collections::BTreeSet;

use musher_protocol::types::Text;
use musher_protocol::worker::{
    ClientConfig, ClientEvent, ClientSession, CommandError, Message, Request, ServerConfig,
    ServerEvent, ServerSession, Version,
};
use nix_derivation::StoreDir;

use crate::{CLIENT_MAGIC, ERROR, SERVER_MAGIC, encoder, ends, error_bytes, event, words};

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
