//! Reads what a client sends, request by request.

use std::sync::Arc;

use bytes::Bytes;

use super::ServerEvent;
use super::desk::Desk;
use crate::nar::Scanner;
use crate::session::{CHUNK, Events, Shared};
use crate::wire::{DecodeError, Decoder, Source};
use crate::worker::body::BodyItem;
use crate::worker::config::ServerConfig;
use crate::worker::error::SessionError;
use crate::worker::frames::Frames;
use crate::worker::message::tag;
use crate::worker::remote_error::RemoteError;
use crate::worker::request::{BodyForm, Request};
use crate::worker::server_info::ServerInfo;
use crate::worker::version::{Dialect, Negotiated};
use crate::worker::{handshake, path_info};

/// The reading half of a server, from the client's hello to the end.
pub(super) async fn run(
    mut from: Decoder,
    desk: Shared<Desk>,
    events: Events<ServerEvent>,
    config: ServerConfig,
) -> Result<(), SessionError> {
    let negotiated = greet(&mut from, &desk, &config).await?;
    let dialect = Arc::new(negotiated.dialect());
    events.emit(ServerEvent::Ready(negotiated)).await;
    let mut requests = Requests {
        from,
        desk,
        events,
        dialect,
    };
    while requests.next().await? {}
    requests.events.emit(ServerEvent::Closed).await;
    Ok(())
}

async fn greet(
    from: &mut Decoder,
    desk: &Shared<Desk>,
    config: &ServerConfig,
) -> Result<Negotiated, SessionError> {
    handshake::client_magic(from).await?;
    handshake::greet_client(config.max_version, &mut desk.lock().output);
    let version = match handshake::common_version(config.max_version, from).await {
        Ok(version) => version,
        Err(error) => {
            // So old a client looks for the log next, and finds this.
            desk.lock().give_up(&said(&error));
            return Err(error);
        }
    };
    let mut dialect = Dialect::plain(version);
    if version.has(38) {
        let offer = handshake::offer(&config.features);
        handshake::write_features(&offer, &mut desk.lock().output);
        dialect.features = handshake::common_features(&offer, from).await?;
    }
    handshake::read_obsolete(from).await?;
    let info = ServerInfo {
        nix_version: Some(config.nix_version.clone()).filter(|_| version.has(33)),
        trust: config.trust.filter(|_| version.has(35)),
    };
    let mut desk = desk.lock();
    desk.speak(Arc::new(dialect.clone()));
    info.encode(&dialect, &mut desk.output);
    desk.output.u64(tag::LAST);
    Ok(Negotiated::new(dialect, info))
}

struct Requests {
    from: Decoder,
    desk: Shared<Desk>,
    events: Events<ServerEvent>,
    dialect: Arc<Dialect>,
}

impl Requests {
    /// Reads a request with its body, and waits for its answer. Returns
    /// whether another one may come.
    async fn next(&mut self) -> Result<bool, SessionError> {
        if self.from.at_end().await {
            return Ok(false);
        }
        self.from.begin_message();
        let read = match Request::decode(&self.dialect, &mut self.from).await {
            Ok(request) => self.serve(request).await,
            Err(error) => Err(SessionError::decode("request", error)),
        };
        if let Err(error) = read {
            self.desk.lock().give_up(&said(&error));
            return Err(error);
        }
        Ok(self.desk.when(Desk::finish).await)
    }

    /// Hands `request` and its body over.
    async fn serve(&mut self, request: Request) -> Result<(), SessionError> {
        let form = request.body_form(&self.dialect);
        if let BodyForm::FramedPaths { .. } = form {
            return self.paths(request).await;
        }
        announce(&self.desk, &self.events, request).await;
        match form {
            BodyForm::Absent | BodyForm::FramedPaths { .. } => Ok(()),
            BodyForm::Framed => self.framed().await,
            BodyForm::Nar => self.nar().await,
            BodyForm::Pulled { size } => self.pulled(size).await,
        }
        .map_err(|error| SessionError::decode("body of a request", error))
    }

    async fn framed(&mut self) -> Result<(), DecodeError> {
        let mut frames = Frames::default();
        while let Some(chunk) = frames.chunk(&mut self.from).await? {
            hand_over(&self.desk, &self.events, BodyItem::Chunk(chunk)).await;
        }
        hand_over(&self.desk, &self.events, BodyItem::End).await;
        Ok(())
    }

    async fn nar(&mut self) -> Result<(), DecodeError> {
        let mut scanner = Scanner::new();
        while !scanner.is_complete() {
            let chunk = self.from.nar_chunk("NAR", CHUNK, &mut scanner).await?;
            hand_over(&self.desk, &self.events, BodyItem::Chunk(chunk)).await;
        }
        hand_over(&self.desk, &self.events, BodyItem::End).await;
        Ok(())
    }

    async fn pulled(&mut self, size: u64) -> Result<(), DecodeError> {
        let mut left = size;
        while left > 0 {
            if !self.desk.lock().is_serving() {
                return Ok(());
            }
            let most = left.min(CHUNK as u64).min(self.from.limits().short);
            self.desk.lock().pull(most);
            let chunk = self.asked_for(most).await?;
            left -= chunk.len() as u64;
            hand_over(&self.desk, &self.events, BodyItem::Chunk(chunk)).await;
        }
        hand_over(&self.desk, &self.events, BodyItem::End).await;
        Ok(())
    }

    /// Reads what the client was asked for. It may be nothing once the request
    /// has failed.
    async fn asked_for(&mut self, most: u64) -> Result<Bytes, DecodeError> {
        const FIELD: &str = "content asked for";
        let offset = self.from.offset();
        self.from.begin_message();
        let chunk = self.from.short_bytes(FIELD).await?;
        if chunk.is_empty() && !self.desk.lock().is_serving() {
            return Ok(chunk);
        }
        if chunk.is_empty() || chunk.len() as u64 > most {
            let expected = format!("1 to {most} bytes");
            let found = format!("{} bytes", chunk.len());
            return Err(self.from.error(FIELD, offset, expected, found));
        }
        Ok(chunk)
    }

    /// Hands over a request to add paths: their number is the first thing in
    /// its frames.
    async fn paths(&mut self, request: Request) -> Result<(), SessionError> {
        let decode = |error| SessionError::decode("body of a request", error);
        let mut frames = Frames::default();
        let inside = Source::default();
        let mut decoder = Decoder::new(
            inside.clone(),
            self.from.store_dir().clone(),
            *self.from.limits(),
        );
        let parser = paths(&mut decoder, request, &self.desk, &self.events);
        let parsed = frames.feed(&mut self.from, &inside, parser).await;
        // The client sends all frames before it looks for an answer.
        let parsed = parsed.map_err(decode)?;
        frames.drain(&mut self.from).await.map_err(decode)?;
        match parsed {
            // One that hears the answer before it has sent all breaks off.
            Err(_) if self.desk.lock().is_answered() => Ok(()),
            parsed => parsed.map_err(|source| SessionError::Decode {
                what: "framed data",
                source,
            }),
        }
    }
}

/// Reads the inside of the frames.
async fn paths(
    from: &mut Decoder,
    mut request: Request,
    desk: &Shared<Desk>,
    events: &Events<ServerEvent>,
) -> Result<(), DecodeError> {
    let number = from.u64("number of paths").await?;
    if let Request::AddMultipleToStore { count, .. } = &mut request {
        *count = number;
    }
    announce(desk, events, request).await;
    for _ in 0..number {
        from.begin_message();
        let info = path_info::decode(from).await?;
        let mut left = info.nar_size;
        if !hand_over(desk, events, BodyItem::Path(info)).await {
            return Ok(());
        }
        while left > 0 {
            let chunk = from.chunk("NAR", left.min(CHUNK as u64)).await?;
            left -= chunk.len() as u64;
            if !hand_over(desk, events, BodyItem::Chunk(chunk)).await {
                return Ok(());
            }
        }
    }
    let offset = from.offset();
    if !from.at_end().await {
        let expected = format!("the end after {number} paths");
        return Err(from.error("framed data", offset, expected, "more data"));
    }
    hand_over(desk, events, BodyItem::End).await;
    Ok(())
}

async fn announce(desk: &Shared<Desk>, events: &Events<ServerEvent>, request: Request) {
    desk.lock().serve(&request);
    events.emit(ServerEvent::Request(request)).await;
}

/// Hands a piece of a body over, if the request is not answered yet. Returns
/// whether it was not.
async fn hand_over(desk: &Shared<Desk>, events: &Events<ServerEvent>, item: BodyItem) -> bool {
    let wanted = || desk.lock().is_serving();
    events.emit_while(ServerEvent::Body(item), wanted).await
}

/// What to tell a client about its own bytes.
fn said(error: &SessionError) -> RemoteError {
    let mut text = error.to_string();
    if let SessionError::Decode { source, .. } = error {
        text = format!("{text}: {source}");
    }
    RemoteError::new(text)
}
