//! The client's end of a connection.

mod outbox;
mod reader;

use bytes::Bytes;

use self::outbox::Outbox;
use super::body::BodyItem;
use super::config::ClientConfig;
use super::error::{CommandError, SessionError};
use super::message::Message;
use super::remote_error::RemoteError;
use super::request::{Request, Unsupported};
use super::response::Response;
use super::version::{Negotiated, Version};
use crate::session::{READ_AHEAD, Reader, Shared};
use crate::wire::{Decoder, Source};

/// What a client learns from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientEvent {
    /// The handshake is done.
    Ready(Negotiated),
    /// The server says something about the first request in flight, or, before
    /// `Ready`, about its start.
    Message(Message),
    /// The first request in flight succeeded. Its upload, if still open, is
    /// over.
    Reply(Response),
    /// The first request in flight failed; the session goes on, unless the
    /// server hangs up. Its upload, if still open, is over.
    Failed(RemoteError),
    /// The first request in flight was made before the handshake was done, and
    /// cannot be expressed. Nothing of it was sent.
    Refused(Unsupported),
    /// Some of the NAR that the first request in flight asked for; the reply
    /// comes after the last of it.
    Nar(Bytes),
}

/// The client's end of one connection, without I/O.
///
/// The shell feeds it with [`receive`](Self::receive), drains
/// [`next_event`](Self::next_event), and then writes what
/// [`take_output`](Self::take_output) gives, after every call of either.
#[derive(Debug)]
pub struct ClientSession {
    source: Source,
    outbox: Shared<Outbox>,
    reader: Reader<ClientEvent, SessionError>,
}

impl ClientSession {
    /// A session that has written its hello.
    pub fn new(config: ClientConfig) -> Self {
        let source = Source::default();
        let decoder = Decoder::new(source.clone(), config.store_dir.clone(), config.limits);
        let offered = config.max_version.clamp(Version::MIN, Version::MAX);
        let outbox = Shared::new(Outbox::new(config.store_dir, offered));
        let reader = Reader::new(|events| {
            reader::run(decoder, outbox.clone(), events, offered, config.features)
        });
        Self {
            source,
            outbox,
            reader,
        }
    }

    /// Takes bytes that the server sent.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.source.push(bytes);
    }

    /// Takes note that the server will send no more.
    pub fn end(&mut self) {
        self.source.end();
    }

    /// Whether the shell should go on reading: false while so much waits for
    /// [`next_event`](Self::next_event) that more would only take memory.
    pub fn wants_input(&self) -> bool {
        self.source.is_starving() || self.source.waiting() < READ_AHEAD
    }

    /// Takes what is to be sent to the server.
    pub fn take_output(&mut self) -> Bytes {
        self.outbox.lock().output.take()
    }

    /// The next event; `None` until more bytes arrive or requests are made. An
    /// error is the last that comes.
    pub fn next_event(&mut self) -> Option<Result<ClientEvent, SessionError>> {
        let event = self.reader.next();
        if let Some(Err(_)) = event {
            self.outbox.lock().close();
        }
        event
    }

    /// Makes a request. Replies come in the order of requests. Before the
    /// handshake is done, and while an upload is open, it waits its turn.
    pub fn request(&mut self, request: Request) -> Result<(), CommandError> {
        self.outbox.lock().request(request)
    }

    /// Goes on with the body of the first request whose body has not ended.
    /// What comes too late, because the request was answered before, is
    /// dropped without an error up to the end of the body.
    pub fn body(&mut self, item: BodyItem) -> Result<(), CommandError> {
        self.outbox.lock().body(item)
    }

    /// Whether more of a body would go out at once. Where it is false while a
    /// body is due, the server is to ask first, or an earlier request to end.
    pub fn wants_body(&self) -> bool {
        self.outbox.lock().wants_body()
    }

    /// Requests that were made and not answered.
    pub fn in_flight(&self) -> usize {
        self.outbox.lock().in_flight()
    }
}
