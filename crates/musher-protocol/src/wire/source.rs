//! Bytes that have arrived and that no decoder has taken yet. Shared by the
//! side that feeds and the decoder that takes; knows nothing of their meaning.
//!
//! Decoders are `async` functions over a `Source`. Waiting for bytes is the
//! only thing they ever wait for, so a session polls its decoder after each
//! [`Source::push`] and needs neither a runtime nor a waker.

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
    ended: bool,
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

    /// The stream offset, in bytes, of the next byte to be taken.
    pub fn offset(&self) -> u64 {
        self.lock().taken
    }

    /// Takes exactly `count` bytes, once they are here.
    pub(crate) async fn take(&self, count: usize) -> Result<Bytes, Ended> {
        poll_fn(|_| {
            let mut arrived = self.lock();
            if arrived.bytes.len() >= count {
                arrived.taken += count as u64;
                Poll::Ready(Ok(arrived.bytes.split_to(count).freeze()))
            } else if arrived.ended {
                Poll::Ready(Err(Ended))
            } else {
                Poll::Pending
            }
        })
        .await
    }

    /// Takes what is here, at least one byte and at most `most`.
    pub(crate) async fn take_some(&self, most: usize) -> Result<Bytes, Ended> {
        poll_fn(|_| {
            let mut arrived = self.lock();
            let count = arrived.bytes.len().min(most);
            if count > 0 {
                arrived.taken += count as u64;
                Poll::Ready(Ok(arrived.bytes.split_to(count).freeze()))
            } else if arrived.ended {
                Poll::Ready(Err(Ended))
            } else {
                Poll::Pending
            }
        })
        .await
    }

    /// Whether the stream ends here: `true` once it has ended with nothing
    /// left, `false` as soon as there is a byte to take.
    pub(crate) async fn at_end(&self) -> bool {
        poll_fn(|_| {
            let arrived = self.lock();
            if !arrived.bytes.is_empty() {
                Poll::Ready(false)
            } else if arrived.ended {
                Poll::Ready(true)
            } else {
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
