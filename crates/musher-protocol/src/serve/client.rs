//! The client's end of a session: requests in, answers out. Knows nothing of
//! the process it talks to, nor of what that says on its standard error.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;

use super::handshake;
use super::outgoing::OutgoingBody;
use super::{
    BodyItem, Command, CommandError, Config, Negotiated, Request, Response, SessionError, Version,
};
use crate::nar::Scanner;
use crate::session::{CHUNK, Events, READ_AHEAD, Reader, Shared};
use crate::wire::{DecodeError, Decoder, Encoder, Source};

/// What a server's bytes turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientEvent {
    /// The handshake is over: requests may be sent.
    Ready(Negotiated),
    /// Bytes of the NAR that the oldest unanswered `DumpStorePath` asked for.
    /// [`Response::Nar`] follows the last.
    Nar(Bytes),
    /// The answer to the oldest request without one.
    Reply(Response),
    /// The server closed the connection, nothing being unanswered.
    Closed,
}

/// The client's end of a session. Requests may be sent while others wait for
/// their answers, which come in the same order.
#[derive(Debug)]
pub struct ClientSession {
    source: Source,
    reader: Reader<ClientEvent, SessionError>,
    encoder: Encoder,
    /// The requests whose answers the reader has not reached the end of.
    asked: Shared<VecDeque<Command>>,
    /// Requests whose answers the owner has not taken.
    unanswered: usize,
    body: Option<OutgoingBody>,
    version: Option<Version>,
    over: bool,
}

impl ClientSession {
    /// A session that has greeted the server and heard nothing.
    pub fn new(config: Config) -> Self {
        let source = Source::default();
        let offered = config.offer();
        let mut encoder = Encoder::new(config.store_dir.clone());
        handshake::greet_server(&mut encoder, offered);
        let decoder = Decoder::new(source.clone(), config.store_dir, config.limits);
        let asked = Shared::default();
        let reader = Reader::new(|events| read(decoder, offered, asked.clone(), events));
        Self {
            source,
            reader,
            encoder,
            asked,
            unanswered: 0,
            body: None,
            version: None,
            over: false,
        }
    }

    /// Takes bytes from the server.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.source.push(bytes);
    }

    /// Says that the server sends no more.
    pub fn end(&mut self) {
        self.source.end();
    }

    /// The next thing that the server said; `None` until there are more bytes.
    /// After an error there is nothing more.
    pub fn next_event(&mut self) -> Option<Result<ClientEvent, SessionError>> {
        let event = self.reader.next();
        match &event {
            Some(Ok(ClientEvent::Ready(negotiated))) => self.version = Some(negotiated.version),
            Some(Ok(ClientEvent::Closed) | Err(_)) => self.over = true,
            Some(Ok(ClientEvent::Reply(_))) => self.unanswered -= 1,
            Some(Ok(ClientEvent::Nar(_))) | None => {}
        }
        event
    }

    /// Whether the session can do with more bytes. If not, there are events to
    /// take first.
    pub fn wants_input(&self) -> bool {
        self.source.is_starving() || self.source.waiting() < READ_AHEAD
    }

    /// Bytes for the server.
    pub fn take_output(&mut self) -> Bytes {
        self.encoder.take()
    }

    /// The number of requests without an answer.
    pub fn unanswered(&self) -> usize {
        self.unanswered
    }

    /// Sends a request. If it has a body, that must be sent before the next.
    pub fn request(&mut self, request: &Request) -> Result<(), CommandError> {
        if self.over {
            return Err(CommandError::Over);
        }
        let version = self.version.ok_or(CommandError::NotReady)?;
        if let Some(body) = &self.body {
            return Err(CommandError::BodyOpen {
                command: body.command(),
            });
        }
        request.encode(&mut self.encoder, version);
        self.body = request.body().map(OutgoingBody::new);
        self.asked.lock().push_back(request.command());
        self.unanswered += 1;
        Ok(())
    }

    /// Sends the next piece of the last request's body.
    pub fn body(&mut self, item: &BodyItem) -> Result<(), CommandError> {
        if self.over {
            return Err(CommandError::Over);
        }
        let body = self.body.as_mut().ok_or(CommandError::NoBody)?;
        if body.write(item, &mut self.encoder)? {
            self.body = None;
        }
        Ok(())
    }
}

async fn read(
    mut d: Decoder,
    offered: Version,
    asked: Shared<VecDeque<Command>>,
    events: Events<ClientEvent>,
) -> Result<(), SessionError> {
    let version = handshake::server_greeting(&mut d, offered).await?;
    events
        .emit(ClientEvent::Ready(Negotiated { version }))
        .await;
    while let Some(command) = answered_next(&d, &asked).await? {
        let response = answer(&mut d, version, command, &events).await;
        let response = response.map_err(|source| match source.is_end() {
            true => SessionError::NoAnswer { command },
            false => SessionError::Answer { command, source },
        })?;
        asked.lock().pop_front();
        events.emit(ClientEvent::Reply(response)).await;
    }
    events.emit(ClientEvent::Closed).await;
    Ok(())
}

/// The request that the server's next bytes answer; none if it has no more
/// bytes and owes no answer.
async fn answered_next(
    d: &Decoder,
    asked: &Shared<VecDeque<Command>>,
) -> Result<Option<Command>, SessionError> {
    let mut next = pin!(asked.when(|queue| queue.front().copied()));
    let mut ended = pin!(d.at_end());
    poll_fn(|context| {
        if let Poll::Ready(command) = next.as_mut().poll(context) {
            return Poll::Ready(Ok(Some(command)));
        }
        ended.as_mut().poll(context).map(|ended| match ended {
            true => Ok(None),
            false => Err(SessionError::Unasked { offset: d.offset() }),
        })
    })
    .await
}

async fn answer(
    d: &mut Decoder,
    version: Version,
    command: Command,
    events: &Events<ClientEvent>,
) -> Result<Response, DecodeError> {
    if command == Command::DumpStorePath {
        let mut scanner = Scanner::new();
        while !scanner.is_complete() {
            let bytes = d.nar_chunk("NAR", CHUNK, &mut scanner).await?;
            events.emit(ClientEvent::Nar(bytes)).await;
        }
    }
    Response::decode(d, version, command).await
}
