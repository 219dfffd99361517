//! Whether the NARs of inputs move, and who is to blame when they do not: those
//! who give them or the machine that takes them. A machine that takes one of
//! several at a time does take; its attempts wait for each other.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use musher_store::{NarStream, StoreError};
use nix_derivation::StorePath;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// For how long nothing may move of what is being sent. A machine may well be
/// busy for a while with something that keeps its store locked.
pub(crate) const STALL: Duration = Duration::from_secs(600);

/// When the last piece of an input moved to a machine, whoever sent it.
#[derive(Debug)]
pub(crate) struct Traffic(Mutex<Instant>);

impl Default for Traffic {
    fn default() -> Self {
        Self(Mutex::new(Instant::now()))
    }
}

impl Traffic {
    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn moves(&self, now: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }
}

/// What one attempt sends.
#[derive(Debug, Clone)]
pub(crate) struct Supply {
    traffic: Arc<Traffic>,
    reading: Arc<watch::Sender<Reading>>,
}

#[derive(Debug)]
struct Reading {
    /// How many NARs are being read.
    open: usize,
    /// When one was opened, or a piece of one moved.
    moved: Instant,
    /// Of which the next piece was asked for and has not come.
    owed: Option<StorePath>,
}

/// Nothing has moved for [`STALL`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stall {
    /// The machine takes nothing.
    Taker,
    /// Who has this path gives nothing of it.
    Giver(StorePath),
}

impl Supply {
    /// What is sent to the machine of which `traffic` is.
    pub(crate) fn new(traffic: Arc<Traffic>) -> Self {
        let reading = Reading {
            open: 0,
            moved: Instant::now(),
            owed: None,
        };
        Self {
            traffic,
            reading: Arc::new(watch::Sender::new(reading)),
        }
    }

    /// Watches the NAR of `path`, to be opened by `opening`.
    pub(crate) async fn watch(
        &self,
        path: &StorePath,
        opening: impl Future<Output = Result<NarStream, StoreError>>,
    ) -> Result<NarStream, StoreError> {
        self.reading.send_modify(|reading| {
            reading.open += 1;
            reading.moved = Instant::now();
            reading.owed = Some(path.clone());
        });
        let open = Open(self.clone());
        let nar = opening.await?;
        self.note(None);
        Ok(Box::pin(Watched {
            nar,
            path: path.clone(),
            open,
        }))
    }

    /// Notes what is owed; nothing is where a piece has moved.
    fn note(&self, owed: Option<&StorePath>) {
        self.reading.send_if_modified(|reading| {
            match owed {
                Some(path) if reading.owed.as_ref() == Some(path) => {}
                // Whoever asks for more has done its part.
                Some(path) => {
                    reading.owed = Some(path.clone());
                    reading.moved = Instant::now();
                }
                None => {
                    reading.owed = None;
                    reading.moved = Instant::now();
                    self.traffic.moves(reading.moved);
                }
            }
            // Whoever waits looks when its time has come.
            false
        });
    }

    /// Waits until nothing of what is being sent has moved for too long.
    pub(crate) async fn stalls(&self) -> Stall {
        let mut reading = self.reading.subscribe();
        loop {
            // The sender is ours.
            let _ = reading.wait_for(|reading| reading.open > 0).await;
            let (owed, moved) = {
                let reading = reading.borrow();
                (reading.owed.clone(), reading.moved)
            };
            let last = match owed {
                Some(_) => moved,
                None => moved.max(self.traffic.last()),
            };
            let end = last + STALL;
            if end <= Instant::now() {
                return owed.map_or(Stall::Taker, Stall::Giver);
            }
            tokio::select! {
                () = sleep_until(end) => {}
                _ = reading.wait_for(|reading| reading.open == 0) => {}
            }
        }
    }
}

/// One NAR that is being read.
struct Open(Supply);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.reading.send_modify(|reading| {
            reading.open -= 1;
            reading.owed = None;
        });
    }
}

struct Watched {
    nar: NarStream,
    path: StorePath,
    open: Open,
}

impl Stream for Watched {
    type Item = Result<Bytes, StoreError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.nar.as_mut().poll_next(context);
        let owed = polled.is_pending().then_some(&self.path);
        self.open.0.note(owed);
        polled
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;
    use futures_util::{StreamExt as _, stream};
    use musher_store::{NarStream, StoreError};
    use tokio::time::{Instant, advance, timeout};

    use super::{STALL, Stall, Supply, Traffic};
    use crate::testing::path;

    /// A NAR of that many pieces, after which nothing comes and no end either.
    fn pieces(count: usize) -> Result<NarStream, StoreError> {
        let pieces = (0..count).map(|_| Ok(Bytes::from_static(b"piece")));
        Ok(Box::pin(stream::iter(pieces).chain(stream::pending())))
    }

    async fn open(supply: &Supply, nar: Result<NarStream, StoreError>) -> NarStream {
        let opened = supply.watch(&path("lib"), async { nar }).await;
        opened.unwrap_or_else(|error| panic!("{error}"))
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn where_nothing_is_sent_nothing_stalls() {
        let supply = Supply::new(Arc::default());
        assert!(timeout(HOUR, supply.stalls()).await.is_err());
        drop(open(&supply, pieces(1)).await);
        assert!(timeout(HOUR, supply.stalls()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_told_from_who_gives_nothing() {
        let supply = Supply::new(Arc::default());
        let mut nar = open(&supply, pieces(2)).await;
        advance(STALL / 2).await;
        assert!(nar.next().await.is_some());
        let before = Instant::now();
        assert_eq!(supply.stalls().await, Stall::Taker);
        assert_eq!(before.elapsed(), STALL);
        assert!(nar.next().await.is_some());
        assert!(timeout(STALL / 2, nar.next()).await.is_err());
        assert_eq!(supply.stalls().await, Stall::Giver(path("lib")));
        assert_eq!(before.elapsed(), STALL * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_does_not_open_a_nar_gives_nothing() {
        let supply = Supply::new(Arc::default());
        let name = path("lib");
        let opening = supply.watch(&name, std::future::pending());
        let (stalls, opened) = (supply.stalls(), timeout(HOUR, opening));
        let (stall, opened) = tokio::join!(stalls, opened);
        assert_eq!(stall, Stall::Giver(path("lib")));
        assert!(opened.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_machine_that_takes_from_somebody_else_takes() {
        let traffic: Arc<Traffic> = Arc::default();
        let (supply, other) = (Supply::new(traffic.clone()), Supply::new(traffic));
        let _waits = open(&supply, pieces(1)).await;
        let mut moves = open(&other, pieces(9)).await;
        let others = async {
            for _ in 0..4 {
                advance(STALL / 2).await;
                assert!(moves.next().await.is_some());
            }
        };
        let before = Instant::now();
        let (stall, ()) = tokio::join!(supply.stalls(), others);
        assert_eq!(stall, Stall::Taker);
        assert_eq!(before.elapsed(), STALL * 3);
    }
}
