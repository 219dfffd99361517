//! A session of the worker protocol over a store on this disk: what `nix-daemon
//! --stdio` is to a store of Nix's. It answers everything but building, and
//! takes its client for someone with the rights of this process: whoever may do
//! less is told so before.

mod additions;
mod answer;
mod body;
mod connect;
mod derivations;
mod housekeeping;
mod logs;
mod missing;
mod questions;
mod root_links;
mod rooted;
mod sources;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use musher_protocol::worker::{
    BodyItem, CommandError, Message, RemoteError, Request, Response, ServerConfig, ServerEvent,
    ServerSession, SessionError, Trust,
};
use nix_derivation::StorePath;
use nix_narinfo::TrustedPublicKey;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tracing::debug;

use self::answer::{Answer, Say};
use self::body::Body;
pub(crate) use self::connect::connect_local;
use self::rooted::Rooted;
use crate::StoreError;
use crate::local::{LocalStore, Wanter};
use crate::nar_file::read_nar_file;
use crate::transport::Transport;
use crate::wire::{Session, Wire, WireError};

/// Pieces of a body that may wait between the client and the disk.
const AHEAD: usize = 16;

/// Messages that may wait for the client.
const UNHEARD: usize = 16;

/// What this says it is where a Nix version is asked for.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (musher)");

/// Why a session ended before its client did.
#[derive(Debug, thiserror::Error)]
pub enum LocalSessionError {
    /// The client hung up, or its stream broke.
    #[error("the client of the local store went away")]
    Gone(#[source] Box<StoreError>),
    /// The client does not speak the worker protocol.
    #[error("the client of the local store does not keep to the worker protocol")]
    Session(#[source] SessionError),
    /// A path could not be read to its end, and there is no other way to say
    /// so.
    #[error("cannot send the rest of `{path}`: {reason}")]
    NarCut {
        /// The path, absolute.
        path: String,
        /// Why.
        reason: String,
    },
    /// The work on a request came to no end.
    #[error("bug: a request was given up")]
    Lost(#[source] tokio::task::JoinError),
}

impl From<WireError<SessionError>> for LocalSessionError {
    fn from(error: WireError<SessionError>) -> Self {
        match error {
            WireError::Session(error) => Self::Session(error),
            WireError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for LocalSessionError {
    fn from(error: StoreError) -> Self {
        Self::Gone(Box::new(error))
    }
}

impl Session for ServerSession {
    type Event = ServerEvent;
    type Error = SessionError;

    fn receive(&mut self, bytes: &[u8]) {
        Self::receive(self, bytes);
    }

    fn end(&mut self) {
        Self::end(self);
    }

    fn wants_input(&self) -> bool {
        Self::wants_input(self)
    }

    fn take_output(&mut self) -> Bytes {
        Self::take_output(self)
    }

    fn next_event(&mut self) -> Option<Result<ServerEvent, SessionError>> {
        Self::next_event(self)
    }
}

/// Serves one client of `store` until it leaves. Signatures by `keys` count.
/// What was being added when the future is dropped is not added.
///
/// Must be called within a tokio runtime.
pub async fn serve_local(
    store: Arc<LocalStore>,
    keys: Arc<[TrustedPublicKey]>,
    transport: Transport,
) -> Result<(), LocalSessionError> {
    let mut config = ServerConfig::new(store.store_dir().clone(), VERSION);
    config.trust = Some(Trust::Trusted);
    let wanter = Wanter::default();
    let mut session = LocalSession {
        wire: Wire::new(transport, ServerSession::new(config)),
        store: Arc::new(Rooted::new(store, keys, wanter.wanted())),
        _wanter: wanter,
    };
    session.run().await
}

/// One client, and the store.
struct LocalSession {
    wire: Wire<ServerSession>,
    store: Arc<Rooted>,
    /// What its threads wait for is of no use without it.
    _wanter: Wanter,
}

/// What happens while a request is worked on.
enum Happened {
    /// There is something to tell, or nothing will come any more.
    Said(Option<Message>),
    /// More of the body is there, or no more of it is wanted.
    Fed(Fed),
}

enum Fed {
    More,
    Over,
}

impl LocalSession {
    async fn run(&mut self) -> Result<(), LocalSessionError> {
        loop {
            match self.wire.event().await {
                Ok(ServerEvent::Ready(negotiated)) => {
                    debug!(version = %negotiated.version, "a client of the local store");
                }
                Ok(ServerEvent::Request(request)) => {
                    debug!(op = ?request.op(), "request");
                    self.serve(request).await?;
                }
                // The rest of what was refused.
                Ok(ServerEvent::Body(_)) => {}
                Ok(ServerEvent::Closed) => return Ok(self.wire.flush().await?),
                Err(error) => {
                    // What was wrong is said, if anybody is there to hear it.
                    let _ = self.wire.flush().await;
                    return Err(error.into());
                }
            }
        }
    }

    async fn serve(&mut self, request: Request) -> Result<(), LocalSessionError> {
        if let Request::NarFromPath(path) = request {
            return self.nar(path).await;
        }
        let answer = match request.has_body() {
            true => {
                let (feed, items) = mpsc::channel(AHEAD);
                let take = move |store: &Rooted, _: &mut Say<'_>| {
                    answer::take(store, request, Body::new(items))
                };
                self.work(Some(feed), take).await?
            }
            false => {
                let answer =
                    move |store: &Rooted, say: &mut Say<'_>| answer::answer(store, request, say);
                self.work(None, answer).await?
            }
        };
        match answer {
            Ok(response) => said(&self.wire.session.reply(&response)),
            Err(error) => self.fail(&error),
        }
        Ok(())
    }

    /// Has a thread do `work`, gives it the body through `feed`, and tells the
    /// client what it says meanwhile.
    async fn work(
        &mut self,
        mut feed: Option<mpsc::Sender<BodyItem>>,
        work: impl FnOnce(&Rooted, &mut Say<'_>) -> Answer + Send + 'static,
    ) -> Result<Answer, LocalSessionError> {
        let (say, mut messages) = mpsc::channel(UNHEARD);
        let store = Arc::clone(&self.store);
        let working = spawn_blocking(move || {
            work(&store, &mut |message| {
                // Nobody hears it: what is done is done all the same.
                let _ = say.blocking_send(message);
            })
        });
        loop {
            let happened = tokio::select! {
                biased;
                message = messages.recv() => Happened::Said(message),
                fed = self.feed(feed.as_ref()), if feed.is_some() => Happened::Fed(fed?),
            };
            match happened {
                Happened::Said(Some(message)) => {
                    said(&self.wire.session.message(&message));
                    self.wire.flush().await?;
                }
                Happened::Said(None) => return working.await.map_err(LocalSessionError::Lost),
                Happened::Fed(Fed::More) => {}
                Happened::Fed(Fed::Over) => feed = None,
            }
        }
    }

    /// Passes one more piece of the request's body on. Nothing is lost when the
    /// future is dropped.
    async fn feed(
        &mut self,
        feed: Option<&mpsc::Sender<BodyItem>>,
    ) -> Result<Fed, LocalSessionError> {
        let Some(feed) = feed else {
            return Ok(Fed::Over);
        };
        let Ok(room) = feed.reserve().await else {
            return Ok(Fed::Over);
        };
        match self.wire.event().await? {
            ServerEvent::Body(item) => {
                let is_last = item == BodyItem::End;
                room.send(item);
                Ok(if is_last { Fed::Over } else { Fed::More })
            }
            ServerEvent::Ready(_) | ServerEvent::Request(_) | ServerEvent::Closed => {
                let source = std::io::ErrorKind::UnexpectedEof.into();
                Err(StoreError::Transport { source }.into())
            }
        }
    }

    /// Sends the NAR of `path`.
    async fn nar(&mut self, path: StorePath) -> Result<(), LocalSessionError> {
        let name = self.store.dir().render_path(&path);
        let asked = path.clone();
        let valid = self.work(None, move |store, _| questions::is_valid(store, &asked));
        match valid.await? {
            Ok(Response::Bool(true)) => {}
            Ok(_) => {
                self.fail(&questions::invalid(&name));
                return Ok(());
            }
            Err(error) => {
                self.fail(&error);
                return Ok(());
            }
        }
        let mut nar = read_nar_file(self.store.real_path(&path));
        let mut begun = false;
        while let Some(chunk) = nar.next().await {
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(error) => {
                    let error = answer::told(&error, error.help());
                    self.fail(&error);
                    return match begun {
                        true => Err(self.cut(name, &error).await),
                        false => Ok(()),
                    };
                }
            };
            if !begun {
                begun = true;
                said(&self.wire.session.reply(&Response::Nar));
            }
            said(&self.wire.session.nar(&chunk));
            self.wire.flush().await?;
        }
        Ok(())
    }

    /// The rest of a NAR cannot be sent: hanging up says so.
    async fn cut(&mut self, path: String, error: &RemoteError) -> LocalSessionError {
        let _ = self.wire.flush().await;
        LocalSessionError::NarCut {
            path,
            reason: error.message.to_string(),
        }
    }

    fn fail(&mut self, error: &RemoteError) {
        debug!(error = %error.message, "request failed");
        said(&self.wire.session.fail(error));
    }
}

/// What is said belongs to the request being served.
fn said(said: &Result<(), CommandError>) {
    debug_assert!(said.is_ok(), "bug: nobody asked: {said:?}");
}
