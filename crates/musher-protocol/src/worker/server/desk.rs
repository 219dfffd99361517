//! What a server sends, and which request it is about. Knows nothing of what
//! comes in.

use std::sync::Arc;

use nix_derivation::StoreDir;

use crate::nar::Scanner;
use crate::wire::Encoder;
use crate::worker::error::CommandError;
use crate::worker::message::{Message, tag};
use crate::worker::remote_error::RemoteError;
use crate::worker::request::{Asked, Request};
use crate::worker::response::Response;
use crate::worker::version::{Dialect, Version};

/// How far the answer to a request is.
#[derive(Debug)]
enum Answer {
    /// There is no request.
    None,
    /// The log may grow.
    Due(Asked),
    /// The NAR is under way.
    Nar(Box<Scanner>),
    /// All is said.
    Given,
    /// All is said, and the client cannot know what comes next.
    Broken,
}

/// The sending half of a server.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) output: Encoder,
    dialect: Arc<Dialect>,
    answer: Answer,
}

impl Desk {
    pub(super) fn new(store_dir: StoreDir) -> Self {
        Self {
            output: Encoder::new(store_dir),
            // Until the client has said its own.
            dialect: Arc::new(Dialect::plain(Version::MIN)),
            answer: Answer::None,
        }
    }

    /// Takes note of what the peers agreed on.
    pub(super) fn speak(&mut self, dialect: Arc<Dialect>) {
        self.dialect = dialect;
    }

    /// Takes note that `request` is to be answered.
    pub(super) fn serve(&mut self, request: &Request) {
        self.answer = Answer::Due(request.asked());
    }

    /// Takes note that the next request may come, if the answer to this one is
    /// given. Returns whether it was, and whether the session goes on.
    pub(super) fn finish(&mut self) -> Option<bool> {
        match self.answer {
            Answer::None | Answer::Due(_) | Answer::Nar(_) => None,
            Answer::Given => {
                self.answer = Answer::None;
                Some(true)
            }
            Answer::Broken => Some(false),
        }
    }

    /// Whether a request waits for its answer, or for the rest of it.
    pub(super) fn is_serving(&self) -> bool {
        matches!(self.answer, Answer::Due(_) | Answer::Nar(_))
    }

    /// Whether all is said about the request.
    pub(super) fn is_answered(&self) -> bool {
        matches!(self.answer, Answer::Given | Answer::Broken)
    }

    pub(super) fn message(&mut self, message: &Message) -> Result<(), CommandError> {
        if let Answer::Due(_) = self.answer {
            message.encode(&mut self.output);
            return Ok(());
        }
        let what = "a log message";
        Err(CommandError::NoRequest { what })
    }

    pub(super) fn reply(&mut self, response: &Response) -> Result<(), CommandError> {
        let Answer::Due(asked) = &self.answer else {
            let what = "an answer";
            return Err(CommandError::NoRequest { what });
        };
        self.output.u64(tag::LAST);
        response.encode(asked, &self.dialect, &mut self.output);
        self.answer = if *response == Response::Nar {
            Answer::Nar(Box::default())
        } else {
            Answer::Given
        };
        Ok(())
    }

    pub(super) fn fail(&mut self, error: &RemoteError) -> Result<(), CommandError> {
        self.answer = match &self.answer {
            Answer::Due(_) => {
                self.say(error);
                Answer::Given
            }
            Answer::Nar(scanner) => {
                if scanner.scanned() == 0 {
                    self.say(error);
                }
                Answer::Broken
            }
            Answer::None | Answer::Given | Answer::Broken => {
                let what = "an error";
                return Err(CommandError::NoRequest { what });
            }
        };
        Ok(())
    }

    pub(super) fn nar(&mut self, bytes: &[u8]) -> Result<(), CommandError> {
        let Answer::Nar(scanner) = &mut self.answer else {
            let what = "a NAR";
            return Err(CommandError::NoRequest { what });
        };
        let taken = scanner.advance(bytes).map_err(CommandError::Nar)?;
        if taken < bytes.len() {
            return Err(CommandError::Body {
                expected: "its end".to_owned(),
                found: format!("{} bytes", bytes.len() - taken),
            });
        }
        self.output.raw(bytes);
        if scanner.is_complete() {
            self.answer = Answer::Given;
        }
        Ok(())
    }

    /// Asks the client for up to `most` bytes of the request's body.
    pub(super) fn pull(&mut self, most: u64) {
        self.output.u64(tag::READ);
        self.output.u64(most);
    }

    /// Says why the session ends, where the client can still hear it.
    pub(super) fn give_up(&mut self, error: &RemoteError) {
        if let Answer::None | Answer::Due(_) = self.answer {
            self.say(error);
        }
        self.answer = Answer::Broken;
    }

    /// Says `error` where the client looks for the end of a log.
    fn say(&mut self, error: &RemoteError) {
        self.output.u64(tag::ERROR);
        error.encode(&self.dialect, &mut self.output);
    }
}
