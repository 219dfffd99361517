//! How a translator asks the session: requests, answers, and what is said
//! meanwhile, which goes to standard error.

use bytes::Bytes;
use musher_protocol::worker::{self, ClientEvent, Field, Message, RemoteError, ResultKind};
use musher_store::StoreError;
use tokio::io::AsyncWriteExt as _;

use super::Translator;
use crate::error::{ServeError, chain};
use crate::wire::unless_gone;

/// Questions that are asked before the first is answered.
const PIPELINED: usize = 256;

impl Translator {
    /// Asks the session, which must not fail: this protocol has no errors.
    pub(super) async fn ask(
        &mut self,
        request: worker::Request,
    ) -> Result<worker::Response, ServeError> {
        self.request(request)?;
        self.answer().await
    }

    /// Asks many things at once.
    pub(super) async fn ask_all(
        &mut self,
        requests: Vec<worker::Request>,
    ) -> Result<Vec<worker::Response>, ServeError> {
        let mut answers = Vec::with_capacity(requests.len());
        let mut requests = requests.into_iter();
        loop {
            let some: Vec<_> = requests.by_ref().take(PIPELINED).collect();
            if some.is_empty() {
                return Ok(answers);
            }
            let count = some.len();
            for request in some {
                self.request(request)?;
            }
            for _ in 0..count {
                answers.push(self.answer().await?);
            }
        }
    }

    pub(super) fn request(&mut self, request: worker::Request) -> Result<(), ServeError> {
        self.session.request(request).map_err(|error| lost(&error))
    }

    pub(super) async fn answer(&mut self) -> Result<worker::Response, ServeError> {
        self.outcome().await?.map_err(|error| failed(&error))
    }

    pub(super) async fn outcome(
        &mut self,
    ) -> Result<Result<worker::Response, RemoteError>, ServeError> {
        loop {
            match self.event().await? {
                ClientEvent::Message(message) => self.hear(message).await?,
                ClientEvent::Reply(response) => return Ok(Ok(response)),
                ClientEvent::Failed(error) => return Ok(Err(error)),
                other @ (ClientEvent::Ready(_) | ClientEvent::Refused(_) | ClientEvent::Nar(_)) => {
                    return Err(odd(&other));
                }
            }
        }
    }

    pub(super) async fn event(&mut self) -> Result<ClientEvent, ServeError> {
        let event = unless_gone(&mut self.client, self.session.event()).await?;
        event.map_err(|error| lost(&error))
    }

    pub(super) async fn upload(&mut self, item: worker::BodyItem) -> Result<(), ServeError> {
        let sent = unless_gone(&mut self.client, self.session.body(item)).await?;
        sent.map_err(|error| lost(&error))
    }

    pub(super) async fn hear(&mut self, message: Message) -> Result<(), ServeError> {
        let Some(text) = log_text(message) else {
            return Ok(());
        };
        let written = async {
            self.log.write_all(&text).await?;
            self.log.write_all(b"\n").await?;
            self.log.flush().await
        };
        // A client that does not want the log still wants its build.
        let _ = unless_gone(&mut self.client, written).await?;
        Ok(())
    }
}

/// What of a message belongs into a log, without the newline.
fn log_text(message: Message) -> Option<Bytes> {
    match message {
        Message::Next(text) => {
            let bytes = text.into_bytes();
            let end = bytes.len() - usize::from(bytes.ends_with(b"\n"));
            Some(bytes.slice(..end))
        }
        Message::Result { kind, fields, .. } if kind == ResultKind::BUILD_LOG_LINE => {
            match fields.into_iter().next()? {
                Field::Text(text) => Some(text.into_bytes()),
                Field::Int(_) => None,
            }
        }
        Message::StartActivity(_) | Message::StopActivity { .. } | Message::Result { .. } => None,
    }
}

/// A request failed, which ends a session of the serve protocol.
pub(super) fn failed(error: &RemoteError) -> ServeError {
    ServeError::Failed(error.message.to_string())
}

/// The session has ended; its own error says why.
pub(super) fn lost(error: &StoreError) -> ServeError {
    ServeError::Failed(chain(error))
}

pub(super) fn odd(found: &dyn std::fmt::Debug) -> ServeError {
    ServeError::Failed(format!(
        "bug: the session answered something else: {found:?}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use musher_protocol::types::Text;

    #[test]
    fn logs_have_lines_and_messages() {
        let line = |kind| Message::Result {
            id: 1,
            kind,
            fields: vec![Field::Text(Text::from("make"))],
        };
        let text = |message| log_text(message).map(|text| text.to_vec());
        assert_eq!(
            text(line(ResultKind::BUILD_LOG_LINE)),
            Some(b"make".to_vec())
        );
        assert_eq!(text(line(ResultKind::SET_PHASE)), None);
        let next = Message::Next(Text::from("waiting\n"));
        assert_eq!(text(next), Some(b"waiting".to_vec()));
    }
}
