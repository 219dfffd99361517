//! Has the home store answer a client: requests, bodies, messages and answers
//! are passed between both, written for each in its own version. Decides
//! nothing.

use musher_protocol::types::PathInfo;
use musher_protocol::worker::{
    BodyItem, ClientEvent, RemoteError, Request, Response, ServerEvent, SessionError,
};
use musher_store::{StoreError, WorkerConnection};

use crate::client::{Client, NarAnswer};
use crate::error::{ServeError, home_error};
use crate::wire::{Gone, WireError, unless_gone};

/// A client and the home store's connection.
pub(crate) struct Relay<'a> {
    pub(crate) client: &'a mut Client,
    pub(crate) home: &'a mut WorkerConnection,
    /// What the info of an uploaded path has to lose.
    pub(crate) restrain: fn(&mut PathInfo),
}

/// Why a request could not be relayed.
#[derive(Debug)]
pub(crate) enum RelayError {
    /// The session is over.
    Session(ServeError),
    /// The home store's connection is of no more use; the client has no answer.
    Home(StoreError),
}

impl From<StoreError> for RelayError {
    fn from(error: StoreError) -> Self {
        Self::Home(error)
    }
}

impl From<ServeError> for RelayError {
    fn from(error: ServeError) -> Self {
        Self::Session(error)
    }
}

impl From<Gone> for RelayError {
    fn from(gone: Gone) -> Self {
        Self::Session(gone.into())
    }
}

impl From<WireError<SessionError>> for RelayError {
    fn from(error: WireError<SessionError>) -> Self {
        Self::Session(error.into())
    }
}

/// What is heard at one moment of an upload.
enum Heard {
    Client(ServerEvent),
    Home(ClientEvent),
}

impl Relay<'_> {
    /// Passes `request` on with its body, and the answer back.
    pub(crate) async fn pass(&mut self, request: Request) -> Result<(), RelayError> {
        let has_body = request.has_body();
        self.home.request(request)?;
        let early = match has_body {
            true => self.body().await?,
            false => None,
        };
        let answer = match early {
            Some(answer) => answer,
            None => self.answer().await?,
        };
        match answer {
            Ok(response) => self.client.reply(&response),
            Err(error) => self.client.fail(&error),
        }
        Ok(())
    }

    /// Makes `requests`; the outcome is the last answer, or the first failure.
    pub(crate) async fn ask(
        &mut self,
        requests: Vec<Request>,
    ) -> Result<Result<Response, RemoteError>, RelayError> {
        let count = requests.len();
        for request in requests {
            self.home.request(request)?;
        }
        let mut outcome = Ok(Response::Unit);
        for _ in 0..count {
            let answer = self.answer().await?;
            outcome = outcome.and(answer);
        }
        Ok(outcome)
    }

    /// Passes the NAR of a path in the home store on. A nix-daemon that has none
    /// hangs up, so an error counts as one of the connection.
    pub(crate) async fn nar(
        &mut self,
        request: Request,
        mut nar: NarAnswer,
    ) -> Result<(), RelayError> {
        self.home.request(request)?;
        loop {
            let event = unless_gone(self.client, self.home.event()).await?;
            match event {
                Ok(ClientEvent::Nar(bytes)) => nar.send(self.client, &bytes).await?,
                Ok(ClientEvent::Message(message)) => self.client.say([message]),
                Ok(ClientEvent::Reply(_)) => return Ok(nar.end(self.client)?),
                Ok(ClientEvent::Failed(error)) => {
                    return Err(self.no_nar(&nar, StoreError::Remote(error)));
                }
                Ok(other @ (ClientEvent::Ready(_) | ClientEvent::Refused(_))) => {
                    return Err(self.no_nar(&nar, stray(&other)));
                }
                Err(error) => return Err(self.no_nar(&nar, error)),
            }
        }
    }

    fn no_nar(&mut self, nar: &NarAnswer, error: StoreError) -> RelayError {
        if nar.has_begun() {
            nar.cut(self.client, &home_error(error)).into()
        } else {
            error.into()
        }
    }

    /// The answer to the oldest request. What the home store says before goes
    /// to the client.
    async fn answer(&mut self) -> Result<Result<Response, RemoteError>, RelayError> {
        loop {
            let event = unless_gone(self.client, self.home.event()).await??;
            if let Some(answer) = self.hear(event).await? {
                return Ok(answer);
            }
        }
    }

    /// Passes the request's body on, to its end or until the home store
    /// answers.
    async fn body(&mut self) -> Result<Option<Result<Response, RemoteError>>, RelayError> {
        loop {
            let heard = tokio::select! {
                biased;
                event = self.home.event() => Heard::Home(event?),
                event = self.client.event() => Heard::Client(event?),
            };
            match heard {
                Heard::Home(event) => {
                    if let Some(answer) = self.hear(event).await? {
                        return Ok(Some(answer));
                    }
                }
                Heard::Client(ServerEvent::Body(mut item)) => {
                    if let BodyItem::Path(info) = &mut item {
                        (self.restrain)(info);
                    }
                    let is_end = item == BodyItem::End;
                    unless_gone(self.client, self.home.body(item)).await??;
                    if is_end {
                        return Ok(None);
                    }
                }
                Heard::Client(
                    ServerEvent::Ready(_) | ServerEvent::Request(_) | ServerEvent::Closed,
                ) => return Err(ServeError::HungUp.into()),
            }
        }
    }

    /// Passes a message on, or gives an answer back.
    async fn hear(
        &mut self,
        event: ClientEvent,
    ) -> Result<Option<Result<Response, RemoteError>>, RelayError> {
        match event {
            ClientEvent::Message(message) => {
                self.client.say([message]);
                self.client.flush().await?;
                Ok(None)
            }
            ClientEvent::Reply(response) => Ok(Some(Ok(response))),
            ClientEvent::Failed(error) => Ok(Some(Err(error))),
            ClientEvent::Refused(unsupported) => {
                Ok(Some(Err(RemoteError::new(unsupported.to_string()))))
            }
            other @ (ClientEvent::Ready(_) | ClientEvent::Nar(_)) => Err(stray(&other).into()),
        }
    }
}

fn stray(event: &ClientEvent) -> StoreError {
    StoreError::Unexpected {
        expected: "an answer",
        found: format!("{event:?}"),
    }
}
