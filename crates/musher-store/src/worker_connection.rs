//! One open connection to a nix-daemon: requests out, events in. Knows no
//! store and decides nothing.

use std::time::Instant;

use bytes::Bytes;
use musher_protocol::worker::{
    BodyItem, ClientConfig, ClientEvent, ClientSession, Message, Negotiated, RemoteError, Request,
    Response, SessionError, Trust,
};

use crate::StoreError;
use crate::pool::Opened;
use crate::transport::{Peer, Transport};
use crate::wire::{Session, Wire, WireError};

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

/// Where messages go that the other end sends beside its answers.
pub type Hear<'a> = dyn FnMut(Message) + Send + 'a;

/// Hears nothing: for questions whose answer says it all.
pub fn deaf(_: Message) {}

/// A connection to a nix-daemon. Requests may be written before earlier ones
/// are answered; answers come in their order.
pub struct WorkerConnection {
    wire: Wire<ClientSession>,
    negotiated: Negotiated,
    opened: Instant,
    spent: bool,
}

impl Opened for WorkerConnection {
    fn opened(&self) -> Instant {
        self.opened
    }

    fn is_quiet(&mut self) -> bool {
        self.wire.is_quiet()
    }
}

impl WorkerConnection {
    /// Shakes hands over `transport`.
    pub async fn open(transport: Transport, config: ClientConfig) -> Result<Self, StoreError> {
        let mut wire = Wire::new(transport, ClientSession::new(config));
        loop {
            match event(&mut wire).await? {
                ClientEvent::Ready(negotiated) => {
                    return Ok(Self {
                        wire,
                        negotiated,
                        opened: Instant::now(),
                        spent: false,
                    });
                }
                ClientEvent::Message(_) => {}
                other @ (ClientEvent::Reply(_)
                | ClientEvent::Failed(_)
                | ClientEvent::Refused(_)
                | ClientEvent::Nar(_)) => return Err(unexpected("the handshake", &other)),
            }
        }
    }

    /// What both ends agreed on.
    pub fn negotiated(&self) -> &Negotiated {
        &self.negotiated
    }

    /// The program at the other end.
    pub fn peer(&self) -> &Peer {
        &self.wire.transport.peer
    }

    /// Whether nothing is being said: the connection can be used for
    /// something else.
    pub fn is_idle(&mut self) -> bool {
        !self.spent && self.wire.session.in_flight() == 0 && self.wire.is_flushed()
    }

    /// Whether the daemon is about to hang up, so that nothing more can be
    /// asked.
    pub fn is_spent(&self) -> bool {
        self.spent
    }

    /// Queues a request. It is written while events are awaited.
    pub fn request(&mut self, request: Request) -> Result<(), StoreError> {
        self.wire
            .session
            .request(request)
            .map_err(StoreError::WorkerRequest)
    }

    /// Writes a part of the open request's body. Events that arrive meanwhile
    /// wait for [`Self::event`].
    pub async fn body(&mut self, item: BodyItem) -> Result<(), StoreError> {
        self.wire
            .session
            .body(item)
            .map_err(StoreError::WorkerRequest)?;
        self.wire.flush().await
    }

    /// The next event. Writes what is queued meanwhile.
    pub async fn event(&mut self) -> Result<ClientEvent, StoreError> {
        event(&mut self.wire).await
    }

    /// Asks one thing and waits for its answer.
    pub async fn call(
        &mut self,
        request: Request,
        hear: &mut Hear<'_>,
    ) -> Result<Response, StoreError> {
        self.request(request)?;
        self.answer(hear).await
    }

    /// The answer to the oldest request that has none.
    pub async fn answer(&mut self, hear: &mut Hear<'_>) -> Result<Response, StoreError> {
        self.outcome(hear).await?.map_err(StoreError::Remote)
    }

    /// The answer to the oldest request that has none; a refusal is told apart
    /// from what breaks the connection.
    pub async fn outcome(
        &mut self,
        hear: &mut Hear<'_>,
    ) -> Result<Result<Response, RemoteError>, StoreError> {
        loop {
            match self.event().await? {
                ClientEvent::Message(message) => hear(message),
                ClientEvent::Reply(response) => return Ok(Ok(response)),
                ClientEvent::Failed(error) => return Ok(Err(error)),
                other @ (ClientEvent::Ready(_) | ClientEvent::Refused(_) | ClientEvent::Nar(_)) => {
                    return Err(unexpected("an answer", &other));
                }
            }
        }
    }

    /// Whether the daemon trusts us. Before 1.35 it does not say; then it is
    /// asked to repair nothing, which it refuses to strangers and which
    /// otherwise does nothing. It hangs up on strangers then, since it refuses
    /// before it is ready for errors: see [`Self::is_spent`].
    pub async fn trust(&mut self) -> Result<Trust, StoreError> {
        if let Some(trust) = self.negotiated.trust {
            return Ok(trust);
        }
        let paths = Vec::new();
        let mode = musher_protocol::types::BuildMode::Repair;
        self.request(Request::BuildPaths { paths, mode })?;
        match self.outcome(&mut deaf).await? {
            Ok(_) => Ok(Trust::Trusted),
            Err(_) => {
                self.spent = true;
                Ok(Trust::NotTrusted)
            }
        }
    }
}

async fn event(wire: &mut Wire<ClientSession>) -> Result<ClientEvent, StoreError> {
    match wire.event().await {
        Ok(event) => Ok(event),
        Err(WireError::Store(error)) => Err(error),
        Err(WireError::Session(source)) => {
            let end = wire.transport.peer.ended(crate::PEER_END).await;
            Err(StoreError::WorkerSession {
                source,
                end: Box::new(end),
            })
        }
    }
}

pub(crate) fn unexpected(expected: &'static str, found: &dyn std::fmt::Debug) -> StoreError {
    StoreError::Unexpected {
        expected,
        found: format!("{found:?}"),
    }
}
