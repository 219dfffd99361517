//! What every session is made of: a reader that runs until it has an event to
//! hand over or lacks bytes, and the slot in which it hands events over. Knows
//! no protocol.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Bytes that a session lets wait before it asks the shell to stop reading.
pub(crate) const READ_AHEAD: usize = 64 << 10;

/// The most bytes in one chunk of bulk data.
pub(crate) const CHUNK: usize = 64 << 10;

/// State that a session's reader and its commands share. The lock is never
/// contended: both run on the thread that owns the session.
#[derive(Debug, Default)]
pub(crate) struct Shared<T>(Arc<Mutex<T>>);

impl<T> Shared<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Arc::new(Mutex::new(value)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        // Poison means that a session panicked on a bug of its own; whoever
        // still looks at it may see the state as it was.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `ready` finds what it looks for.
    pub(crate) async fn when<R>(&self, mut ready: impl FnMut(&mut T) -> Option<R>) -> R {
        poll_fn(|_| match ready(&mut self.lock()) {
            Some(found) => Poll::Ready(found),
            None => Poll::Pending,
        })
        .await
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Where a reader puts its events, one at a time.
#[derive(Debug)]
pub(crate) struct Events<E>(Shared<Option<E>>);

impl<E> Events<E> {
    /// Hands `event` over once the one before it was taken.
    pub(crate) async fn emit(&self, event: E) {
        self.emit_while(event, || true).await;
    }

    /// Hands `event` over once the one before it was taken, or drops it if
    /// nobody wants it any more by then. Returns whether it was wanted.
    pub(crate) async fn emit_while(&self, event: E, wanted: impl Fn() -> bool) -> bool {
        let mut event = Some(event);
        self.0
            .when(|slot| {
                if !wanted() {
                    Some(false)
                } else if slot.is_none() {
                    *slot = event.take();
                    Some(true)
                } else {
                    None
                }
            })
            .await
    }
}

type Run<X> = Pin<Box<dyn Future<Output = Result<(), X>> + Send>>;

/// A reader and its event slot. It runs only within [`Reader::next`], so at
/// most one event waits, and what was not asked for stays in the source.
pub(crate) struct Reader<E, X> {
    slot: Shared<Option<E>>,
    run: Option<Run<X>>,
    error: Option<X>,
}

impl<E, X> Reader<E, X> {
    /// A reader that runs what `make` makes of its event slot.
    pub(crate) fn new<F>(make: impl FnOnce(Events<E>) -> F) -> Self
    where
        F: Future<Output = Result<(), X>> + Send + 'static,
    {
        let slot = Shared::new(None);
        let run = make(Events(slot.clone()));
        Self {
            slot,
            run: Some(Box::pin(run)),
            error: None,
        }
    }

    /// The next event; `None` until more bytes or commands have come. An error
    /// comes last, once.
    pub(crate) fn next(&mut self) -> Option<Result<E, X>> {
        let waiting = self.slot.lock().take();
        if let Some(event) = waiting {
            return Some(Ok(event));
        }
        if let Some(run) = &mut self.run
            && let Poll::Ready(outcome) = run.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        {
            self.run = None;
            self.error = outcome.err();
        }
        let event = self.slot.lock().take();
        match event {
            Some(event) => Some(Ok(event)),
            None => self.error.take().map(Err),
        }
    }
}

impl<E, X> fmt::Debug for Reader<E, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("running", &self.run.is_some())
            .finish_non_exhaustive()
    }
}
