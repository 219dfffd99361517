//! When to ask an absent coordinator again, and when to say that it is absent.
//! Knows no socket and reads no clock.

use std::time::Duration;

use tokio::time::Instant;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A restart or an upgrade is over by then; nobody needs to hear of it.
const QUIET: Duration = Duration::from_secs(2);

/// One time during which the coordinator did not answer.
#[derive(Debug)]
pub(super) struct Outage {
    began: Instant,
    pause: Duration,
    retry_at: Instant,
    told: bool,
}

impl Outage {
    /// An outage noticed at `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began: now,
            pause: FIRST_PAUSE,
            retry_at: now + FIRST_PAUSE,
            told: false,
        }
    }

    /// One more attempt was in vain.
    pub(super) fn failed(&mut self, now: Instant) {
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.retry_at = now + self.pause;
    }

    /// When to try again.
    pub(super) fn retry_at(&self) -> Instant {
        self.retry_at
    }

    /// How long it has lasted.
    pub(super) fn lasted(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.began)
    }

    /// Whether the client is to be told now: once, at once where the
    /// coordinator was never `reached`, otherwise after a while.
    pub(super) fn tell(&mut self, now: Instant, reached: bool) -> bool {
        let due = !self.told && (!reached || self.lasted(now) >= QUIET);
        self.told |= due;
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_second() {
        let mut now = Instant::now();
        let mut outage = Outage::new(now);
        let mut pauses = Vec::new();
        for _ in 0..7 {
            pauses.push((outage.retry_at() - now).as_millis());
            now = outage.retry_at();
            outage.failed(now);
        }
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1000, 1000]);
    }

    #[test]
    fn an_outage_is_told_once() {
        let start = Instant::now();
        let mut outage = Outage::new(start);
        assert!(!outage.tell(start, true));
        assert!(outage.tell(start + QUIET, true));
        assert!(!outage.tell(start + QUIET * 2, true));
    }

    #[test]
    fn a_coordinator_that_never_answered_is_told_of_at_once() {
        let start = Instant::now();
        let mut outage = Outage::new(start);
        assert!(outage.tell(start, false));
        assert!(!outage.tell(start, false));
    }
}
