//! `musher log`

use clap::Args;
use futures_util::StreamExt as _;
use serde::Serialize;

use super::named_path::named_path;
use crate::context::Context;
use crate::coordinator::Coordinator;
use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::runtime::{block_on, until_signal};

/// Print the log of a derivation's newest build, or follow it while it runs
///
/// Logs are kept by the coordinator that had the build made, until there is too
/// much of them. What is printed is what the build program wrote, and lines that
/// begin with `@nix`, which tell the phase. With `--json` it is an object a line,
/// each with a piece of the log.
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// The derivation, an output of it, something inside of one, or a link to it
    path: String,
}

/// A piece of a log, in JSON.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct PieceRecord {
    /// The store path that was asked for.
    path: String,
    /// Where in the log it begins, in bytes.
    offset: u64,
    text: String,
}

/// Makes text of a log as it comes: bytes, cut anywhere.
struct Pieces {
    path: String,
    /// Of what has not been handed out.
    offset: u64,
    /// The beginning of a character.
    open: Vec<u8>,
}

impl Pieces {
    fn new(path: String) -> Self {
        Self {
            path,
            offset: 0,
            open: Vec::new(),
        }
    }

    /// What can be said now that `bytes` have come.
    fn next(&mut self, bytes: &[u8]) -> Option<PieceRecord> {
        let mut bytes = [&std::mem::take(&mut self.open), bytes].concat();
        let cut = bytes.utf8_chunks().last().map_or(0, |last| {
            let invalid = last.invalid();
            // Is it wrong, or is there more to come?
            let is_cut =
                std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none());
            if is_cut { invalid.len() } else { 0 }
        });
        self.open = bytes.split_off(bytes.len() - cut);
        self.hand_out(&bytes)
    }

    /// What is left.
    fn end(mut self) -> Option<PieceRecord> {
        let open = std::mem::take(&mut self.open);
        self.hand_out(&open)
    }

    fn hand_out(&mut self, bytes: &[u8]) -> Option<PieceRecord> {
        let offset = self.offset;
        self.offset += bytes.len() as u64;
        (!bytes.is_empty()).then(|| PieceRecord {
            path: self.path.clone(),
            offset,
            text: String::from_utf8_lossy(bytes).into_owned(),
        })
    }
}

impl LogArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Failure> {
        block_on(until_signal(self.print(context)))
    }

    async fn print(&self, context: &Context) -> Result<Outcome, Failure> {
        let mut coordinator = Coordinator::connect_or_start(&context.places).await?;
        let home = coordinator.home().await?;
        let path = named_path(&self.path, &home.store_dir, &home.real_dir)?;
        let mut chunks = coordinator.read_log(path.clone()).await?;
        let mut pieces = Pieces::new(path);
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|status| coordinator.broken(status))?;
            if !context.ui.json {
                context.ui.bytes(&chunk.bytes)?;
            } else if let Some(piece) = pieces.next(&chunk.bytes) {
                context.ui.json_line(&piece)?;
            }
        }
        if let Some(rest) = pieces.end() {
            context.ui.json_line(&rest)?;
        }
        Ok(Outcome::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_whole_however_bytes_are_cut() {
        let log = "ä€😀\n".as_bytes();
        for size in 1..=log.len() {
            let mut pieces = Pieces::new("/nix/store/x".to_owned());
            let mut said: Vec<_> = (log.chunks(size))
                .filter_map(|chunk| pieces.next(chunk))
                .collect();
            said.extend(pieces.end());
            let mut text = String::new();
            for piece in said {
                assert_eq!(piece.offset, text.len() as u64);
                text += &piece.text;
            }
            assert_eq!(text.as_bytes(), log, "in pieces of {size}");
        }
    }

    #[test]
    fn what_is_no_text_is_marked_and_counted() {
        let mut pieces = Pieces::new("/nix/store/x".to_owned());
        let text = |piece: Option<PieceRecord>| piece.map(|piece| (piece.offset, piece.text));
        assert_eq!(
            text(pieces.next(b"a\xffb")),
            Some((0, "a\u{fffd}b".to_owned()))
        );
        assert_eq!(text(pieces.next(b"\xe2\x82")), None);
        assert_eq!(text(pieces.end()), Some((3, "\u{fffd}".to_owned())));
    }
}
