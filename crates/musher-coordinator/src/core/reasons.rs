//! Keeps true what those are told who follow waiting builds. Nearly everything
//! that happens can change what a build waits for, and there can be very many:
//! so they are gone through in pieces, and not for each thing that happens.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use musher_scheduler::BuildId;
use tokio::time::{Instant, sleep_until};

use super::Core;
use super::record::State;
use crate::waiting::{Obstacle, Waiting};

/// Builds that are looked at in one piece: about a millisecond's worth.
const PIECE: usize = 64;
/// How long the next round waits after a whole one, at least, and how many times
/// as long as that took.
const PAUSE: Duration = Duration::from_secs(1);
const SHARE: u32 = 10;

/// How far the present round is.
#[derive(Debug)]
pub(super) struct Reasons {
    /// Whether something has happened since the present round began.
    stale: bool,
    /// The build after which the round goes on; none between rounds.
    after: Option<BuildId>,
    /// When it began.
    began: Instant,
    /// When the next piece or round may begin.
    from: Instant,
    /// What was in the way of the build that was looked at last.
    obstacles: Arc<[Obstacle]>,
}

impl Default for Reasons {
    fn default() -> Self {
        let now = Instant::now();
        Self {
            stale: false,
            after: None,
            began: now,
            from: now,
            obstacles: Arc::from([]),
        }
    }
}

impl Reasons {
    /// Something has happened.
    pub(super) fn are_stale(&mut self) {
        self.stale = true;
    }

    /// What has happened is rare, and what somebody waits for.
    pub(super) fn are_stale_now(&mut self) {
        self.stale = true;
        self.from = Instant::now();
    }

    /// The same reason, which takes no memory that another took already.
    pub(super) fn shared(&mut self, waiting: Waiting) -> Waiting {
        waiting.sharing(&mut self.obstacles)
    }

    /// Waits until there is a piece to look at.
    pub(super) async fn due(&self) {
        match self.stale || self.after.is_some() {
            true => sleep_until(self.from).await,
            false => std::future::pending().await,
        }
    }
}

impl Core {
    /// Looks at one piece.
    pub(super) fn refresh_reasons(&mut self) {
        let from = match self.reasons.after {
            Some(build) => Bound::Excluded(build),
            None => {
                self.reasons.stale = false;
                self.reasons.began = Instant::now();
                Bound::Unbounded
            }
        };
        let piece = (self.builds.range((from, Bound::Unbounded))).take(PIECE);
        let piece: Vec<_> = piece
            .map(|(build, record)| (*build, record.state))
            .collect();
        for (build, state) in &piece {
            if *state == State::Queued {
                self.explain_waiting(*build);
            }
        }
        self.reasons.after = (piece.last())
            .filter(|_| piece.len() == PIECE)
            .map(|(build, _)| *build);
        if self.reasons.after.is_none() {
            self.refresh_outlooks();
        }
        let now = Instant::now();
        self.reasons.from = match self.reasons.after {
            Some(_) => now,
            None => now + PAUSE.max(SHARE * (now - self.reasons.began)),
        };
    }
}
