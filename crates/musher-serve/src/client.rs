//! What is said to a client of the worker protocol. Knows not why.

use musher_protocol::worker::{Message, RemoteError, Response, ServerSession};
use tracing::debug;

use crate::error::{ServeError, nar_error};
use crate::wire::Wire;

/// A client of the worker protocol.
pub(crate) type Client = Wire<ServerSession>;

impl Client {
    /// Says something about the request being served.
    pub(crate) fn say(&mut self, messages: impl IntoIterator<Item = Message>) {
        for message in messages {
            let said = self.session.message(&message);
            debug_assert!(said.is_ok(), "bug: a message without a request");
        }
    }

    /// Answers the request being served.
    pub(crate) fn reply(&mut self, response: &Response) {
        let replied = self.session.reply(response);
        debug_assert!(replied.is_ok(), "bug: an answer without a request");
    }

    /// Lets the request being served fail.
    pub(crate) fn fail(&mut self, error: &RemoteError) {
        debug!(error = %error.message, "request failed");
        let failed = self.session.fail(error);
        debug_assert!(failed.is_ok(), "bug: an error without a request");
    }
}

/// A NAR on its way to the client. Nothing is said before the first byte, so
/// that until then it can still fail with an error.
#[derive(Debug)]
pub(crate) struct NarAnswer {
    /// Absolute.
    path: String,
    begun: bool,
}

impl NarAnswer {
    /// The NAR of `path` (absolute), of which nothing was sent.
    pub(crate) fn new(path: String) -> Self {
        Self { path, begun: false }
    }

    /// Sends the next bytes, and waits until they are on their way.
    pub(crate) async fn send(
        &mut self,
        client: &mut Client,
        bytes: &[u8],
    ) -> Result<(), ServeError> {
        if !self.begun {
            self.begun = true;
            client.reply(&Response::Nar);
        }
        match client.session.nar(bytes) {
            Ok(()) => Ok(client.flush().await?),
            Err(error) => self.fail(client, &nar_error(&error)),
        }
    }

    /// All bytes were sent.
    pub(crate) fn end(&self, client: &mut Client) -> Result<(), ServeError> {
        match client.session.is_serving() {
            true => self.fail(client, &RemoteError::new("the NAR ends too early")),
            false => Ok(()),
        }
    }

    /// Whether the client was promised a NAR, and can no longer be told that
    /// there is none.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun
    }

    /// It cannot be sent, or not to its end.
    pub(crate) fn fail(&self, client: &mut Client, error: &RemoteError) -> Result<(), ServeError> {
        if self.begun {
            return Err(self.cut(client, error));
        }
        client.fail(error);
        Ok(())
    }

    /// It cannot be sent to its end: the session is over.
    pub(crate) fn cut(&self, client: &mut Client, error: &RemoteError) -> ServeError {
        client.fail(error);
        ServeError::NarCut {
            path: self.path.clone(),
            reason: error.message.to_string(),
        }
    }
}
