//! Framed data, frame after frame, and the paths that `AddMultipleToStore`
//! has in it.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;

use crate::session::CHUNK;
use crate::wire::{DecodeError, Decoder, Source};

/// What is left of some framed data.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// Bytes left of the frame being read.
    left: u64,
    ended: bool,
}

impl Frames {
    /// The next bytes; `None` after the last frame.
    pub(super) async fn chunk(&mut self, from: &mut Decoder) -> Result<Option<Bytes>, DecodeError> {
        if self.left == 0 && !self.ended {
            self.left = from.frame("frame length").await?;
            self.ended = self.left == 0;
        }
        if self.ended {
            return Ok(None);
        }
        let most = self.left.min(CHUNK as u64);
        let chunk = from.chunk("framed data", most).await?;
        self.left -= chunk.len() as u64;
        Ok(Some(chunk))
    }

    /// Reads to the end and forgets it.
    pub(super) async fn drain(&mut self, from: &mut Decoder) -> Result<(), DecodeError> {
        while self.chunk(from).await?.is_some() {}
        Ok(())
    }

    /// Runs `parser`, which reads `inside`, and feeds it from the frames.
    /// An error of the frames themselves ends both.
    pub(super) async fn feed<T>(
        &mut self,
        from: &mut Decoder,
        inside: &Source,
        parser: impl Future<Output = T>,
    ) -> Result<T, DecodeError> {
        let mut parser = pin!(parser);
        loop {
            let step = poll_fn(|context| {
                if let Poll::Ready(parsed) = parser.as_mut().poll(context) {
                    Poll::Ready(Some(parsed))
                } else if inside.is_starving() {
                    Poll::Ready(None)
                } else {
                    // It waits for its events to be taken.
                    Poll::Pending
                }
            });
            if let Some(parsed) = step.await {
                return Ok(parsed);
            }
            match self.chunk(from).await? {
                Some(chunk) => inside.push(&chunk),
                None => inside.end(),
            }
        }
    }
}
