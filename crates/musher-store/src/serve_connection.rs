//! One open connection to a `nix-store --serve`: requests out, answers in.
//! Knows no store and decides nothing.

use std::time::Instant;

use bytes::Bytes;
use musher_protocol::serve::{
    BodyItem, ClientEvent, ClientSession, Config, Negotiated, Request, Response, SessionError,
};

use crate::StoreError;
use crate::pool::Opened;
use crate::transport::{Peer, Transport};
use crate::wire::{Session, Wire, WireError};
use crate::worker_connection::unexpected;

impl Session for ClientSession {
    type Event = ClientEvent;
    type Error = SessionError;

    fn receive(&mut self, bytes: &[u8]) {
        Self::receive(self, bytes);
    }

    fn end(&mut self) {
        Self::end(self);
    }

    fn take_output(&mut self) -> Bytes {
        Self::take_output(self)
    }

    fn next_event(&mut self) -> Option<Result<ClientEvent, SessionError>> {
        Self::next_event(self)
    }
}

/// A connection to a `nix-store --serve`. Requests may be written before
/// earlier ones are answered; answers come in their order.
pub struct ServeConnection {
    wire: Wire<ClientSession>,
    negotiated: Negotiated,
    opened: Instant,
}

impl Opened for ServeConnection {
    fn opened(&self) -> Instant {
        self.opened
    }

    fn is_quiet(&mut self) -> bool {
        self.wire.is_quiet()
    }
}

impl ServeConnection {
    /// Shakes hands over `transport`.
    pub async fn open(transport: Transport, config: Config) -> Result<Self, StoreError> {
        let mut wire = Wire::new(transport, ClientSession::new(config));
        let answer = event(&mut wire).await?;
        let ClientEvent::Ready(negotiated) = answer else {
            return Err(unexpected("the handshake", &answer));
        };
        Ok(Self {
            wire,
            negotiated,
            opened: Instant::now(),
        })
    }

    /// What both ends agreed on.
    pub fn negotiated(&self) -> Negotiated {
        self.negotiated
    }

    /// The program at the other end. Its standard error is where builds log.
    pub fn peer(&self) -> &Peer {
        &self.wire.transport.peer
    }

    /// Whether nothing is being said: the connection can be used for
    /// something else.
    pub fn is_idle(&mut self) -> bool {
        self.wire.session.unanswered() == 0 && self.wire.is_flushed()
    }

    /// Queues a request. It is written while events are awaited.
    pub fn request(&mut self, request: &Request) -> Result<(), StoreError> {
        self.wire
            .session
            .request(request)
            .map_err(StoreError::ServeRequest)
    }

    /// Writes a part of the open request's body.
    pub async fn body(&mut self, item: &BodyItem) -> Result<(), StoreError> {
        self.wire
            .session
            .body(item)
            .map_err(StoreError::ServeRequest)?;
        self.wire.flush().await
    }

    /// The next event. Writes what is queued meanwhile.
    pub async fn event(&mut self) -> Result<ClientEvent, StoreError> {
        event(&mut self.wire).await
    }

    /// Asks one thing and waits for its answer.
    pub async fn call(&mut self, request: &Request) -> Result<Response, StoreError> {
        self.request(request)?;
        self.answer().await
    }

    /// The answer to the oldest request that has none.
    pub async fn answer(&mut self) -> Result<Response, StoreError> {
        let answer = self.event().await?;
        let ClientEvent::Reply(response) = answer else {
            return Err(unexpected("an answer", &answer));
        };
        Ok(response)
    }
}

async fn event(wire: &mut Wire<ClientSession>) -> Result<ClientEvent, StoreError> {
    match wire.event().await {
        Ok(event) => Ok(event),
        Err(WireError::Store(error)) => Err(error),
        Err(WireError::Session(source)) => {
            let end = wire.transport.peer.ended(crate::PEER_END).await;
            Err(StoreError::ServeSession {
                source,
                end: Box::new(end),
            })
        }
    }
}
