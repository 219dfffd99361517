//! Open connections that nobody uses at the moment. Knows nothing of what they
//! are connected to.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Connections kept at most; beyond it they are closed.
const MOST: usize = 64;

/// How long one connection is used at most. A nix-daemon keeps everything from
/// its garbage collector that was touched on a connection, until it closes.
const LIFETIME: Duration = Duration::from_secs(300);

/// A connection that can be kept.
pub(crate) trait Opened {
    /// When it was opened.
    fn opened(&self) -> Instant;

    /// Whether the other end is there and says nothing, as far as is known.
    fn is_quiet(&mut self) -> bool;
}

/// Idle connections, each with the time since when it is.
pub(crate) struct Pool<C>(Mutex<Vec<(Instant, C)>>);

impl<C> Default for Pool<C> {
    fn default() -> Self {
        Self(Mutex::new(Vec::new()))
    }
}

impl<C: Opened> Pool<C> {
    /// The connection that was given back last: the others get old and are
    /// closed, so that there are as many as are needed. Those whose other end
    /// went away meanwhile (a nix-daemon was restarted, a host rebooted) are
    /// dropped: what is asked on one would seem to be refused by the store.
    pub(crate) fn take(&self) -> Option<C> {
        loop {
            let (_, mut connection) = self.lock().pop()?;
            if connection.is_quiet() {
                return Some(connection);
            }
        }
    }

    /// Keeps an idle connection, unless it is old.
    pub(crate) fn give_back(&self, connection: C) {
        let mut idle = self.lock();
        if idle.len() < MOST && connection.opened().elapsed() < LIFETIME {
            idle.push((Instant::now(), connection));
        }
    }

    /// Closes those that have been idle for `age` or longer.
    pub(crate) fn close(&self, age: Duration) {
        self.lock().retain(|(since, _)| since.elapsed() < age);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Instant, C)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
