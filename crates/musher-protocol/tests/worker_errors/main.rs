//! What the worker protocol's sessions make of peers and owners that do not
//! do as they should.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod client;
mod handshake;
mod server;

#[path = "../common/nars.rs"]
mod nars;

use std::collections::BTreeSet;
use std::error::Error;

use bytes::Bytes;
use musher_protocol::types::{NarHash, PathInfo};
use musher_protocol::wire::{Encoder, Limits};
use musher_protocol::worker::{
    BodyItem, ClientConfig, ClientEvent, ClientSession, Dialect, RemoteError, Request,
    ServerConfig, ServerEvent, ServerSession, SessionError, Version,
};
use nix_derivation::{StoreDir, StorePath};

pub(crate) const CLIENT_MAGIC: u64 = 0x6e69_7863;
pub(crate) const SERVER_MAGIC: u64 = 0x6478_696f;
pub(crate) const LAST: u64 = 0x616c_7473;
pub(crate) const READ: u64 = 0x6461_7461;
pub(crate) const ERROR: u64 = 0x6378_7470;

pub(crate) fn encoder() -> Encoder {
    Encoder::new(StoreDir::default())
}

pub(crate) fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

pub(crate) fn path(name: &str) -> StorePath {
    StorePath::from_parts([0; 20], name).unwrap()
}

pub(crate) fn info(name: &str, nar_size: u64) -> PathInfo {
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

pub(crate) fn chunk(bytes: &[u8]) -> BodyItem {
    BodyItem::Chunk(Bytes::copy_from_slice(bytes))
}

pub(crate) fn add(nar_size: u64) -> Request {
    Request::AddToStoreNar {
        info: info("added", nar_size),
        repair: false,
        dont_check_sigs: false,
    }
}

/// A client that has shaken hands with a server of `1.minor`.
pub(crate) fn client(minor: u8) -> ClientSession {
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
pub(crate) fn server(minor: u8) -> ServerSession {
    server_with(minor, Limits::default())
}

pub(crate) fn server_with(minor: u8, limits: Limits) -> ServerSession {
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
pub(crate) fn ends<E>(next: Option<Result<E, SessionError>>, expected: &str)
where
    E: std::fmt::Debug,
{
    let error = next.unwrap().unwrap_err();
    let cause = error.source().map(|cause| format!(": {cause}"));
    assert_eq!(format!("{error}{}", cause.unwrap_or_default()), expected);
}

pub(crate) fn event(session: &mut ServerSession) -> ServerEvent {
    session.next_event().unwrap().unwrap()
}

pub(crate) fn request_bytes(request: &Request, minor: u8) -> Bytes {
    let mut to = encoder();
    let dialect = Dialect::plain(Version::minor(minor));
    request.encode(&dialect, &mut to).unwrap();
    to.take()
}

/// An error as it stands on the wire of a new version.
pub(crate) fn error_bytes(message: &str) -> Bytes {
    let mut to = encoder();
    to.u64(ERROR);
    RemoteError::new(message).encode(&Dialect::plain(Version::MAX), &mut to);
    to.take()
}
