//! Bytes that have arrived and that no decoder has taken yet. Shared by the
//! side that feeds and the decoder that takes; knows nothing of their meaning.
//!
//! Decoders are `async` functions over a `Source`. Waiting for bytes is the
//! only thing they ever wait for, so a session polls its decoder after each
//! [`Source::push`] and needs neither a runtime nor a waker.

use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use bytes::{Bytes, BytesMut};

/// The stream ended before the awaited bytes came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended;

#[derive(Debug, Default)]
struct Arrived {
    bytes: BytesMut,
    /// Bytes taken so far: the stream offset of `bytes[0]`.
    taken: u64,
    /// How many bytes the decoder waits for; 0 while it does not wait.
    wanted: usize,
    ended: bool,
}

impl Arrived {
    /// Takes the first `count` bytes, which are here.
    fn split(&mut self, count: usize) -> Bytes {
        self.taken += count as u64;
        self.wanted = 0;
        self.bytes.split_to(count).freeze()
    }
}

/// A handle on one direction of a byte stream.
#[derive(Debug, Clone, Default)]
pub struct Source(Arc<Mutex<Arrived>>);

impl Source {
    /// Appends bytes that arrived.
    pub fn push(&self, bytes: &[u8]) {
        self.lock().bytes.extend_from_slice(bytes);
    }

    /// Says that no more bytes will come.
    pub fn end(&self) {
        self.lock().ended = true;
    }

    /// The number of bytes that arrived and were not taken.
    pub fn waiting(&self) -> usize {
        self.lock().bytes.len()
    }

    /// Whether the decoder waits for bytes that have not arrived.
    pub fn is_starving(&self) -> bool {
        let arrived = self.lock();
        arrived.wanted > arrived.bytes.len() && !arrived.ended
    }

    /// Whether the stream was said to end.
    pub fn has_ended(&self) -> bool {
        self.lock().ended
    }

    /// The stream offset, in bytes, of the next byte to be taken.
    pub fn offset(&self) -> u64 {
        self.lock().taken
    }

    /// Takes exactly `count` bytes, once they are here.
    pub(crate) async fn take(&self, count: usize) -> Result<Bytes, Ended> {
        poll_fn(|_| {
            let mut arrived = self.lock();
            if arrived.bytes.len() >= count {
                Poll::Ready(Ok(arrived.split(count)))
            } else if arrived.ended {
                Poll::Ready(Err(Ended))
            } else {
                arrived.wanted = count;
                Poll::Pending
            }
        })
        .await
    }

    /// Takes what is here, at least one byte and at most `most`.
    pub(crate) async fn take_some(&self, most: usize) -> Result<Bytes, Ended> {
        self.take_scanned(|bytes| Ok::<_, Infallible>(bytes.len().min(most)))
            .await
            .map(|taken| match taken {
                Ok(bytes) => bytes,
                Err(never) => match never {},
            })
    }

    /// Takes as many of the bytes that are here, at least one, as `scan` says
    /// when it is shown them. `scan` is called once.
    pub(crate) async fn take_scanned<E>(
        &self,
        mut scan: impl FnMut(&[u8]) -> Result<usize, E>,
    ) -> Result<Result<Bytes, E>, Ended> {
        poll_fn(|_| {
            let mut arrived = self.lock();
            if !arrived.bytes.is_empty() {
                let taken = scan(&arrived.bytes).map(|count| arrived.split(count));
                Poll::Ready(Ok(taken))
            } else if arrived.ended {
                Poll::Ready(Err(Ended))
            } else {
                arrived.wanted = 1;
                Poll::Pending
            }
        })
        .await
    }

    /// The first 8 bytes, once they are here, without taking them. `None` if
    /// the stream ends before.
    pub(crate) async fn peek_word(&self) -> Option<[u8; 8]> {
        poll_fn(|_| {
            let mut arrived = self.lock();
            if let Some(word) = arrived.bytes.first_chunk() {
                let word = *word;
                arrived.wanted = 0;
                Poll::Ready(Some(word))
            } else if arrived.ended {
                Poll::Ready(None)
            } else {
                arrived.wanted = 8;
                Poll::Pending
            }
        })
        .await
    }

    /// A copy of the first bytes that are here, at most `most`.
    pub(crate) fn preview(&self, most: usize) -> Bytes {
        let arrived = self.lock();
        Bytes::copy_from_slice(&arrived.bytes[..arrived.bytes.len().min(most)])
    }

    /// Whether the stream ends here: `true` once it has ended with nothing
    /// left, `false` as soon as there is a byte to take.
    pub(crate) async fn at_end(&self) -> bool {
        poll_fn(|_| {
            let mut arrived = self.lock();
            if !arrived.bytes.is_empty() {
                arrived.wanted = 0;
                Poll::Ready(false)
            } else if arrived.ended {
                Poll::Ready(true)
            } else {
                arrived.wanted = 1;
                Poll::Pending
            }
        })
        .await
    }

    fn lock(&self) -> MutexGuard<'_, Arrived> {
        // A poisoned lock means that a decoder panicked; its bytes are still
        // whole, and the session that owned it is gone.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
