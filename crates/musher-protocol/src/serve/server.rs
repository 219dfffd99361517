//! The server's end of a session: requests out, answers in. Knows nothing of
//! stores or builds.

use bytes::Bytes;

use super::export::BodyKind;
use super::handshake;
use super::outgoing::OutgoingNar;
use super::{
    BodyItem, Command, CommandError, Config, Exported, Negotiated, Request, Response, SessionError,
    Version,
};
use crate::nar::Scanner;
use crate::session::{CHUNK, Events, READ_AHEAD, Reader, Shared};
use crate::wire::{DecodeError, Decoder, Encoder, Source};

/// What a client's bytes turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerEvent {
    /// The handshake is over.
    Ready(Negotiated),
    /// A request. If it has a body, that follows; then it is to be answered.
    Request(Request),
    /// A piece of the last request's body.
    Body(BodyItem),
    /// The client closed the connection, everything being answered.
    Closed,
}

/// The server's end of a session. It hands over one request at a time: the
/// next one only after the answer to the last. A client that closes the
/// connection while a request is being worked on has lost interest in it.
#[derive(Debug)]
pub struct ServerSession {
    source: Source,
    reader: Reader<ServerEvent, SessionError>,
    encoder: Shared<Encoder>,
    turn: Turn,
    answered: Shared<bool>,
    version: Version,
}

/// Whose turn it is, as far as the owner of the session was told.
#[derive(Debug)]
enum Turn {
    /// The client's: there is no request.
    Client,
    /// The client's: the data of this request is not complete.
    Body(Command),
    /// The owner's: this request is to be answered.
    Owner(Command),
    /// The owner's: the rest of a NAR is to be sent.
    Nar(OutgoingNar),
}

impl ServerSession {
    /// A session that has heard nothing.
    pub fn new(config: Config) -> Self {
        let offered = config.offer();
        let source = Source::default();
        let encoder = Shared::new(Encoder::new(config.store_dir.clone()));
        let decoder = Decoder::new(source.clone(), config.store_dir, config.limits);
        let answered = Shared::new(false);
        let input = Input {
            d: decoder,
            offered,
            encoder: encoder.clone(),
            answered: answered.clone(),
        };
        Self {
            source,
            reader: Reader::new(|events| read(input, events)),
            encoder,
            turn: Turn::Client,
            answered,
            version: offered,
        }
    }

    /// Takes bytes from the client.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.source.push(bytes);
    }

    /// Says that the client sends no more.
    pub fn end(&mut self) {
        self.source.end();
    }

    /// The next thing that the client said; `None` until there are more bytes,
    /// or an answer. After an error there is nothing more, and nothing for it
    /// but to close the connection.
    pub fn next_event(&mut self) -> Option<Result<ServerEvent, SessionError>> {
        let event = self.reader.next();
        match &event {
            Some(Ok(ServerEvent::Ready(negotiated))) => self.version = negotiated.version,
            Some(Ok(ServerEvent::Request(request))) => self.turn = Turn::after(request),
            Some(Ok(ServerEvent::Body(BodyItem::End))) => self.turn.end_body(),
            Some(Ok(ServerEvent::Body(BodyItem::Chunk(_) | BodyItem::Path(_))))
            | Some(Ok(ServerEvent::Closed))
            | Some(Err(_))
            | None => {}
        }
        event
    }

    /// Whether the session can do with more bytes. If not, there are events to
    /// take or a request to answer first.
    pub fn wants_input(&self) -> bool {
        self.source.is_starving() || self.source.waiting() < READ_AHEAD
    }

    /// Bytes for the client.
    pub fn take_output(&mut self) -> Bytes {
        self.encoder.lock().take()
    }

    /// Whether a request waits for its answer, or for the rest of it.
    pub fn is_serving(&self) -> bool {
        matches!(self.turn, Turn::Owner(_) | Turn::Nar(_))
    }

    /// Answers the last request. After [`Response::Nar`] the NAR follows with
    /// [`nar`](Self::nar), and ends the answer.
    pub fn reply(&mut self, response: &Response) -> Result<(), CommandError> {
        let given = response.command();
        let awaited = match self.turn {
            Turn::Owner(command) => Some(command),
            Turn::Client | Turn::Body(_) | Turn::Nar(_) => None,
        };
        if awaited != Some(given) {
            return Err(CommandError::NotAsked { given, awaited });
        }
        response.encode(&mut self.encoder.lock(), self.version);
        if *response == Response::Nar {
            self.turn = Turn::Nar(OutgoingNar::default());
        } else {
            self.end_turn();
        }
        Ok(())
    }

    /// Sends more of the NAR that was promised; its own grammar says where it
    /// ends. One that cannot be finished ends the connection.
    pub fn nar(&mut self, bytes: &[u8]) -> Result<(), CommandError> {
        let Turn::Nar(nar) = &mut self.turn else {
            return Err(CommandError::NoNar);
        };
        nar.write(bytes, &mut self.encoder.lock())?;
        if nar.is_complete() {
            self.end_turn();
        }
        Ok(())
    }

    fn end_turn(&mut self) {
        self.turn = Turn::Client;
        *self.answered.lock() = true;
    }
}

impl Turn {
    fn after(request: &Request) -> Self {
        match request.body() {
            Some(_) => Self::Body(request.command()),
            None => Self::Owner(request.command()),
        }
    }

    fn end_body(&mut self) {
        if let Self::Body(command) = self {
            *self = Self::Owner(*command);
        }
    }
}

/// What the reading half of a session works with.
struct Input {
    d: Decoder,
    offered: Version,
    encoder: Shared<Encoder>,
    answered: Shared<bool>,
}

async fn read(mut input: Input, events: Events<ServerEvent>) -> Result<(), SessionError> {
    let d = &mut input.d;
    handshake::client_magic(d).await?;
    handshake::greet_client(&mut input.encoder.lock(), input.offered);
    let version = handshake::version(d, input.offered).await?;
    events
        .emit(ServerEvent::Ready(Negotiated { version }))
        .await;
    while !d.at_end().await {
        let request = Request::decode(d, version)
            .await
            .map_err(|source| SessionError::Request { source })?;
        let command = request.command();
        let body = request.body();
        events.emit(ServerEvent::Request(request)).await;
        if let Some(body) = body {
            read_body(d, body, &events)
                .await
                .map_err(|source| SessionError::Body { command, source })?;
        }
        input
            .answered
            .when(|answered| std::mem::take(answered).then_some(()))
            .await;
    }
    events.emit(ServerEvent::Closed).await;
    Ok(())
}

async fn read_body(
    d: &mut Decoder,
    kind: BodyKind,
    events: &Events<ServerEvent>,
) -> Result<(), DecodeError> {
    match kind {
        BodyKind::Nar { size } => added_nar(d, size, events).await?,
        BodyKind::Export => export_stream(d, events).await?,
    }
    events.emit(ServerEvent::Body(BodyItem::End)).await;
    Ok(())
}

async fn added_nar(
    d: &mut Decoder,
    size: u64,
    events: &Events<ServerEvent>,
) -> Result<(), DecodeError> {
    let mut left = size;
    while left > 0 {
        let bytes = d.chunk("NAR", left.min(CHUNK as u64)).await?;
        left -= bytes.len() as u64;
        let item = BodyItem::Chunk(bytes);
        events.emit(ServerEvent::Body(item)).await;
    }
    Ok(())
}

async fn export_stream(d: &mut Decoder, events: &Events<ServerEvent>) -> Result<(), DecodeError> {
    while another_path(d).await? {
        let mut scanner = Scanner::new();
        while !scanner.is_complete() {
            let bytes = d.nar_chunk("exported NAR", CHUNK, &mut scanner).await?;
            let item = BodyItem::Chunk(bytes);
            events.emit(ServerEvent::Body(item)).await;
        }
        d.begin_message();
        let item = BodyItem::Path(Exported::decode(d).await?);
        events.emit(ServerEvent::Body(item)).await;
    }
    Ok(())
}

async fn another_path(d: &mut Decoder) -> Result<bool, DecodeError> {
    const FIELD: &str = "more paths";
    let offset = d.offset();
    match d.u64(FIELD).await? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(d.error(FIELD, offset, "0 or 1", other.to_string())),
    }
}
