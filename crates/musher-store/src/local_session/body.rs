//! A request's body as blocking code reads it: it arrives piece by piece from
//! the session's task. Knows no store.

use std::io::{self, ErrorKind, Read};

use bytes::{Buf as _, Bytes};
use musher_protocol::types::PathInfo;
use musher_protocol::worker::BodyItem;
use tokio::sync::mpsc;

/// The body of one request. Reading it gives the content that comes next: all
/// of it, or where the body holds several paths, that of the last path taken.
pub(super) struct Body {
    items: mpsc::Receiver<BodyItem>,
    /// What is left of the piece that came last.
    chunk: Bytes,
    /// What came behind the content that was read.
    behind: Option<Behind>,
}

/// What ends some content.
enum Behind {
    Path(Box<PathInfo>),
    End,
}

impl Body {
    /// A body whose pieces come through `items`.
    pub(super) fn new(items: mpsc::Receiver<BodyItem>) -> Self {
        Self {
            items,
            chunk: Bytes::new(),
            behind: None,
        }
    }

    /// The next path; its NAR can be read then. Nothing at the body's end.
    pub(super) fn next_path(&mut self) -> io::Result<Option<PathInfo>> {
        self.skip()?;
        match self.behind.take() {
            Some(Behind::Path(info)) => Ok(Some(*info)),
            Some(Behind::End) | None => {
                self.behind = Some(Behind::End);
                Ok(None)
            }
        }
    }

    /// Drops what is left of the content.
    pub(super) fn skip(&mut self) -> io::Result<()> {
        while self.fill()? {
            self.chunk.clear();
        }
        Ok(())
    }

    /// Waits for content; false where there is no more of it.
    fn fill(&mut self) -> io::Result<bool> {
        while self.chunk.is_empty() {
            if self.behind.is_some() {
                return Ok(false);
            }
            match self.items.blocking_recv() {
                Some(BodyItem::Chunk(chunk)) => self.chunk = chunk,
                Some(BodyItem::Path(info)) => self.behind = Some(Behind::Path(Box::new(info))),
                Some(BodyItem::End) => self.behind = Some(Behind::End),
                None => {
                    let text = "the upload was broken off";
                    return Err(io::Error::new(ErrorKind::UnexpectedEof, text));
                }
            }
        }
        Ok(true)
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.fill()? {
            return Ok(0);
        }
        let count = self.chunk.len().min(buffer.len());
        self.chunk.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use musher_protocol::types::NarHash;
    use nix_derivation::StorePath;

    use super::*;

    fn body(items: Vec<BodyItem>) -> Body {
        let (sender, receiver) = mpsc::channel(items.len().max(1));
        for item in items {
            sender.try_send(item).expect("room");
        }
        Body::new(receiver)
    }

    fn chunk(text: &'static str) -> BodyItem {
        BodyItem::Chunk(Bytes::from_static(text.as_bytes()))
    }

    fn path(name: &str) -> BodyItem {
        BodyItem::Path(PathInfo {
            path: StorePath::from_parts([1; 20], name).expect("a path"),
            deriver: None,
            nar_hash: NarHash([0; 32]),
            nar_size: 0,
            references: BTreeSet::new(),
            registration_time: 0,
            ultimate: false,
            signatures: BTreeSet::new(),
            ca: None,
        })
    }

    #[test]
    fn content_is_read_to_its_end() {
        let mut body = body(vec![chunk("one "), chunk(""), chunk("two"), BodyItem::End]);
        let text = io::read_to_string(&mut body).expect("content");
        assert_eq!(text, "one two");
    }

    #[test]
    fn paths_have_content_of_their_own() {
        let mut body = body(vec![
            path("a"),
            chunk("left unread"),
            path("b"),
            chunk("b's"),
            BodyItem::End,
        ]);
        let name = |body: &mut Body| {
            let info = body.next_path().expect("a body")?;
            Some(info.path.name().to_owned())
        };
        assert_eq!(name(&mut body).as_deref(), Some("a"));
        assert_eq!(name(&mut body).as_deref(), Some("b"));
        assert_eq!(io::read_to_string(&mut body).expect("content"), "b's");
        assert_eq!(name(&mut body), None);
        assert_eq!(name(&mut body), None);
    }

    #[test]
    fn a_broken_upload_is_no_end() {
        let mut body = body(vec![chunk("beginning")]);
        let error = io::read_to_string(&mut body).expect_err("an error");
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    }
}
