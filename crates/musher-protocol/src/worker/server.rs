//! The server's end of a connection.

mod desk;
mod reader;

use bytes::Bytes;

use self::desk::Desk;
use super::body::BodyItem;
use super::config::ServerConfig;
use super::error::{CommandError, SessionError};
use super::message::Message;
use super::remote_error::RemoteError;
use super::request::Request;
use super::response::Response;
use super::version::{Negotiated, Version};
use crate::session::{READ_AHEAD, Reader, Shared};
use crate::wire::{Decoder, Source};

/// What a server learns from the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerEvent {
    /// The handshake is done.
    Ready(Negotiated),
    /// The client makes a request, which is to be answered with
    /// [`ServerSession::reply`] or [`ServerSession::fail`]. The next one comes
    /// after that.
    Request(Request),
    /// The next piece of the request's body. None comes once the request is
    /// answered; what is left of the body is read and dropped.
    Body(BodyItem),
    /// Nothing more will come: the client has left between two requests, or an
    /// error had to be said where it ends the session. Send what is to be
    /// sent, and close the connection.
    Closed,
}

/// The server's end of one connection, without I/O.
///
/// The shell feeds it with [`receive`](Self::receive), drains
/// [`next_event`](Self::next_event), and then writes what
/// [`take_output`](Self::take_output) gives, after every call of any.
#[derive(Debug)]
pub struct ServerSession {
    source: Source,
    desk: Shared<Desk>,
    reader: Reader<ServerEvent, SessionError>,
}

impl ServerSession {
    /// A session that waits for the client's hello.
    pub fn new(mut config: ServerConfig) -> Self {
        config.max_version = config.max_version.clamp(Version::MIN, Version::MAX);
        let source = Source::default();
        let decoder = Decoder::new(source.clone(), config.store_dir.clone(), config.limits);
        let desk = Shared::new(Desk::new(config.store_dir.clone()));
        let reader = Reader::new(|events| reader::run(decoder, desk.clone(), events, config));
        Self {
            source,
            desk,
            reader,
        }
    }

    /// Takes bytes that the client sent.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.source.push(bytes);
    }

    /// Takes note that the client will send no more.
    pub fn end(&mut self) {
        self.source.end();
    }

    /// Whether the shell should go on reading: false while so much waits for
    /// the request being served to end, or for
    /// [`next_event`](Self::next_event), that more would only take memory.
    pub fn wants_input(&self) -> bool {
        self.source.is_starving() || self.source.waiting() < READ_AHEAD
    }

    /// Takes what is to be sent to the client.
    pub fn take_output(&mut self) -> Bytes {
        self.desk.lock().output.take()
    }

    /// The next event; `None` until more bytes arrive or the request is
    /// answered. An error is the last that comes; the output says it to the
    /// client, where the client can hear it.
    pub fn next_event(&mut self) -> Option<Result<ServerEvent, SessionError>> {
        self.reader.next()
    }

    /// Whether a request waits for its answer.
    pub fn is_serving(&self) -> bool {
        self.desk.lock().is_serving()
    }

    /// Says something about the request being served.
    pub fn message(&mut self, message: &Message) -> Result<(), CommandError> {
        self.desk.lock().message(message)
    }

    /// Answers the request being served. After [`Response::Nar`] the NAR
    /// follows with [`nar`](Self::nar), and ends the answer.
    ///
    /// # Panics
    ///
    /// If the response is one to another kind of request.
    pub fn reply(&mut self, response: &Response) -> Result<(), CommandError> {
        self.desk.lock().reply(response)
    }

    /// Says that the request being served failed. In the place of a NAR that
    /// was promised, it ends the session as well; in the middle of one it only
    /// ends the session.
    pub fn fail(&mut self, error: &RemoteError) -> Result<(), CommandError> {
        self.desk.lock().fail(error)
    }

    /// Sends the next bytes of the NAR that was promised. Its end ends the
    /// answer.
    pub fn nar(&mut self, bytes: &[u8]) -> Result<(), CommandError> {
        self.desk.lock().nar(bytes)
    }
}
