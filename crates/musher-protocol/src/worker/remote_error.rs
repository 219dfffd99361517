//! The error that a server answers a request with.
//!
//! ```text
//! error = "Error", level, name, message, 0, count, (0, trace)*     from 1.26
//!       | message, status                                          before
//! ```

use super::message::Level;
use super::version::Dialect;
use crate::types::Text;
use crate::wire::{DecodeError, Decoder, Encoder};

/// A request's failure, as the server put it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RemoteError {
    /// How bad it is.
    pub level: Level,
    /// The class of error in the server's program: `Error` since Nix 2.4.
    pub name: Text,
    /// What went wrong.
    pub message: Text,
    /// What the server was doing, the innermost last.
    pub traces: Vec<Text>,
    /// The exit status that a program is to end with; only before 1.26.
    pub status: u64,
}

impl RemoteError {
    /// An error with this message.
    pub fn new(message: impl Into<Text>) -> Self {
        Self {
            level: Level::ERROR,
            name: Text::from("Error"),
            message: message.into(),
            traces: Vec::new(),
            status: 1,
        }
    }

    /// Writes the error without its tag.
    pub fn encode(&self, dialect: &Dialect, to: &mut Encoder) {
        if !dialect.has(26) {
            to.bytes(self.message.as_bytes());
            to.u64(self.status);
            return;
        }
        to.string("Error");
        to.u64(self.level.0);
        to.bytes(self.name.as_bytes());
        to.bytes(self.message.as_bytes());
        to.u64(0);
        to.count(self.traces.len());
        for trace in &self.traces {
            to.u64(0);
            to.bytes(trace.as_bytes());
        }
    }

    /// Reads the error behind its tag.
    pub async fn decode(dialect: &Dialect, from: &mut Decoder) -> Result<Self, DecodeError> {
        if !dialect.has(26) {
            let mut error = Self::new(from.text("error message").await?);
            error.status = from.u64("error status").await?;
            return Ok(error);
        }
        let offset = from.offset();
        let kind = from.short("error type").await?;
        if kind != "Error" {
            return Err(from.error("error type", offset, "`Error`", format!("`{kind}`")));
        }
        let level = Level(from.u64("error level").await?);
        let name = from.text("error name").await?;
        let message = from.text("error message").await?;
        no_position(from).await?;
        let mut traces = Vec::new();
        for _ in 0..from.count("error traces").await? {
            no_position(from).await?;
            traces.push(from.text("error trace").await?);
        }
        Ok(Self {
            level,
            name,
            message,
            traces,
            status: 1,
        })
    }
}

/// Nix has a place for a position and never had an encoding for it.
async fn no_position(from: &mut Decoder) -> Result<(), DecodeError> {
    let offset = from.offset();
    match from.u64("error position").await? {
        0 => Ok(()),
        other => Err(from.error("error position", offset, "0", other.to_string())),
    }
}
