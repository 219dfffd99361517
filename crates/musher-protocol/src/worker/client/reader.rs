//! Reads what a server sends, request by request.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::ClientEvent;
use super::outbox::{Outbox, Sent};
use crate::nar::Scanner;
use crate::session::{CHUNK, Events, Shared};
use crate::wire::Decoder;
use crate::worker::error::SessionError;
use crate::worker::handshake;
use crate::worker::message::{Message, tag};
use crate::worker::op::Op;
use crate::worker::remote_error::RemoteError;
use crate::worker::request::Asked;
use crate::worker::response::Response;
use crate::worker::server_info::ServerInfo;
use crate::worker::version::{Dialect, Feature, Negotiated, Version};

/// The reading half of a client, from the server's hello to the end.
pub(super) async fn run(
    mut from: Decoder,
    outbox: Shared<Outbox>,
    events: Events<ClientEvent>,
    offered: Version,
    features: BTreeSet<Feature>,
) -> Result<(), SessionError> {
    let negotiated = greet(&mut from, &outbox, &events, offered, &features).await?;
    let dialect = Arc::new(negotiated.dialect());
    outbox.lock().begin(Arc::clone(&dialect));
    events.emit(ClientEvent::Ready(negotiated)).await;
    let mut replies = Replies {
        from,
        outbox,
        events,
        dialect,
    };
    loop {
        replies.next().await?;
    }
}

async fn greet(
    from: &mut Decoder,
    outbox: &Shared<Outbox>,
    events: &Events<ClientEvent>,
    offered: Version,
    features: &BTreeSet<Feature>,
) -> Result<Negotiated, SessionError> {
    handshake::server_magic(from).await?;
    let version = handshake::common_version(offered, from).await?;
    let mut dialect = Dialect::plain(version);
    if version.has(38) {
        let offer = handshake::offer(features);
        handshake::write_features(&offer, &mut outbox.lock().output);
        dialect.features = handshake::common_features(&offer, from).await?;
    }
    handshake::write_obsolete(&mut outbox.lock().output);
    let info = ServerInfo::decode(&dialect, from).await;
    let info = info.map_err(handshake::decode)?;
    while let Some(message) = handshake::next_startup_message(&dialect, from).await? {
        events.emit(ClientEvent::Message(message)).await;
        from.begin_message();
    }
    Ok(Negotiated::new(dialect, info))
}

/// How the log of a request ended.
enum Verdict {
    Done,
    Failed(RemoteError),
}

struct Replies {
    from: Decoder,
    outbox: Shared<Outbox>,
    events: Events<ClientEvent>,
    dialect: Arc<Dialect>,
}

impl Replies {
    /// Reads all that the server has to say about the next request.
    async fn next(&mut self) -> Result<(), SessionError> {
        let asked = match self.first_in_flight().await? {
            Sent::Request(asked) => asked,
            Sent::Refused(unsupported) => {
                return self.settle(ClientEvent::Refused(unsupported)).await;
            }
        };
        let event = match self.log().await? {
            Verdict::Failed(error) => ClientEvent::Failed(error),
            Verdict::Done if asked.op() == Op::NarFromPath => return self.nar().await,
            Verdict::Done => ClientEvent::Reply(self.response(&asked).await?),
        };
        self.settle(event).await
    }

    /// Waits for a request to be in flight. Nothing may come from the server
    /// meanwhile.
    async fn first_in_flight(&self) -> Result<Sent, SessionError> {
        let source = self.from.source();
        self.outbox
            .when(|outbox| {
                if let Some(sent) = outbox.first_in_flight() {
                    Some(Ok(sent))
                } else if source.waiting() > 0 {
                    let offset = source.offset();
                    Some(Err(SessionError::Unasked { offset }))
                } else if source.has_ended() {
                    let during = "between requests";
                    Some(Err(SessionError::Ended { during }))
                } else {
                    None
                }
            })
            .await
    }

    async fn settle(&self, event: ClientEvent) -> Result<(), SessionError> {
        let whole = self.outbox.lock().answered();
        self.events.emit(event).await;
        if whole {
            Ok(())
        } else {
            let during = "by failing in the middle of a NAR that it was sent";
            Err(SessionError::Ended { during })
        }
    }

    /// Reads messages up to the one that ends the log.
    async fn log(&mut self) -> Result<Verdict, SessionError> {
        const WHAT: &str = "log";
        let from = &mut self.from;
        loop {
            from.begin_message();
            let offset = from.offset();
            let Ok(word) = from.u64("start of a message").await else {
                let during = "before it had answered";
                return Err(SessionError::Ended { during });
            };
            match word {
                tag::LAST => return Ok(Verdict::Done),
                tag::ERROR => {
                    let error = RemoteError::decode(&self.dialect, from).await;
                    let error = error.map_err(|error| SessionError::decode(WHAT, error))?;
                    return Ok(Verdict::Failed(error));
                }
                tag::READ => {
                    let most = from.u64("content asked for").await;
                    let most = most.map_err(|error| SessionError::decode(WHAT, error))?;
                    if !self.outbox.lock().demand(most) {
                        return Err(SessionError::UnexpectedRead { offset });
                    }
                }
                _ => match Message::decode(word, from).await {
                    Ok(Some(message)) => self.events.emit(ClientEvent::Message(message)).await,
                    Ok(None) => {
                        let expected = "a log message, an error or the end of the log";
                        let found = format!("{word:#x}");
                        let error = from.error("start of a message", offset, expected, found);
                        return Err(SessionError::decode(WHAT, error));
                    }
                    Err(error) => return Err(SessionError::decode(WHAT, error)),
                },
            }
        }
    }

    async fn response(&mut self, asked: &Asked) -> Result<Response, SessionError> {
        self.from.begin_message();
        Response::decode(asked, &self.dialect, &mut self.from)
            .await
            .map_err(|error| SessionError::decode("answer", error))
    }

    /// Passes a NAR through. A server that finds out too late that it has none,
    /// or not all of one, sends an error in its place, and hangs up.
    async fn nar(&mut self) -> Result<(), SessionError> {
        const WHAT: &str = "NAR";
        let decode = |error| SessionError::decode(WHAT, error);
        let mut scanner = Scanner::until(tag::ERROR);
        while !scanner.is_complete() {
            let chunk = self.from.nar_chunk(WHAT, CHUNK, &mut scanner).await;
            let chunk = chunk.map_err(decode)?;
            if scanner.has_surrendered() {
                let error = RemoteError::decode(&self.dialect, &mut self.from).await;
                let failed = ClientEvent::Failed(error.map_err(decode)?);
                self.settle(failed).await?;
                let during = "because it could not send a NAR";
                return Err(SessionError::Ended { during });
            }
            self.events.emit(ClientEvent::Nar(chunk)).await;
        }
        self.settle(ClientEvent::Reply(Response::Nar)).await
    }
}
