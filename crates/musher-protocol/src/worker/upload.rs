//! Whether the pieces of a request's body come as they have to. Knows nothing
//! of how they travel.

use super::body::BodyItem;
use super::error::CommandError;
use super::request::Request;
use crate::nar::Scanner;

/// What may come next in a body.
#[derive(Debug)]
pub(super) enum BodyCheck {
    /// Content of any length.
    Any,
    /// Content of this length.
    Sized { left: u64 },
    /// One NAR.
    Nar(Scanner),
    /// Paths, each followed by content of its length.
    Paths { paths: u64, bytes: u64 },
}

impl BodyCheck {
    /// Before the body of `request`, which has one.
    pub(super) fn new(request: &Request) -> Self {
        if let Request::AddMultipleToStore { count, .. } = request {
            Self::Paths {
                paths: *count,
                bytes: 0,
            }
        } else if let Request::AddToStoreNar { info, .. } = request {
            Self::Sized {
                left: info.nar_size,
            }
        } else if let Request::AddNarToStore { .. } = request {
            Self::Nar(Scanner::new())
        } else {
            Self::Any
        }
    }

    /// Goes past `item`. Returns whether it ended the body; an error if it
    /// must not come here.
    pub(super) fn accept(&mut self, item: &BodyItem) -> Result<bool, CommandError> {
        match (&mut *self, item) {
            (Self::Any, BodyItem::Chunk(_)) => Ok(false),
            (Self::Any, BodyItem::End)
            | (Self::Sized { left: 0 }, BodyItem::End)
            | (Self::Paths { paths: 0, bytes: 0 }, BodyItem::End) => Ok(true),
            (Self::Nar(scanner), BodyItem::End) if scanner.is_complete() => Ok(true),
            (Self::Sized { left }, BodyItem::Chunk(chunk)) if chunk.len() as u64 <= *left => {
                *left -= chunk.len() as u64;
                Ok(false)
            }
            (Self::Paths { bytes, .. }, BodyItem::Chunk(chunk)) if chunk.len() as u64 <= *bytes => {
                *bytes -= chunk.len() as u64;
                Ok(false)
            }
            (Self::Paths { paths, bytes: 0 }, BodyItem::Path(info)) if *paths > 0 => {
                *self = Self::Paths {
                    paths: *paths - 1,
                    bytes: info.nar_size,
                };
                Ok(false)
            }
            (Self::Nar(scanner), BodyItem::Chunk(chunk)) => {
                match scanner.advance(chunk).map_err(CommandError::Nar)? {
                    taken if taken == chunk.len() => Ok(false),
                    _ => Err(self.unexpected(item)),
                }
            }
            _ => Err(self.unexpected(item)),
        }
    }

    fn unexpected(&self, item: &BodyItem) -> CommandError {
        let expected = match self {
            Self::Any => "content or its end".to_owned(),
            Self::Sized { left: 0 } | Self::Paths { paths: 0, bytes: 0 } => "its end".to_owned(),
            Self::Sized { left } => format!("{left} more bytes"),
            Self::Nar(scanner) if scanner.is_complete() => "its end".to_owned(),
            Self::Nar(_) => "the rest of a NAR".to_owned(),
            Self::Paths { paths, bytes: 0 } => format!("{paths} more paths"),
            Self::Paths { bytes, .. } => format!("{bytes} more bytes of a NAR"),
        };
        let found = match item {
            BodyItem::Path(_) => "a path".to_owned(),
            BodyItem::Chunk(chunk) => format!("{} bytes", chunk.len()),
            BodyItem::End => "its end".to_owned(),
        };
        CommandError::Body { expected, found }
    }
}
