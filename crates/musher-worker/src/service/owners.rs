//! Which coordinators are there, and since when the others are not. Pure but
//! for the clock that is passed in.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

/// Coordinators remembered after they went.
const REMEMBERED: usize = 64;

/// The coordinators of this worker, by the name they gave. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Owners(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    known: Mutex<BTreeMap<String, Presence>>,
    left: Notify,
}

#[derive(Debug)]
struct Presence {
    /// Streams of signs of life.
    pulses: usize,
    /// When it was last seen, if there is none.
    seen: Instant,
}

/// A coordinator that is there, until this is dropped.
#[derive(Debug)]
pub(super) struct Present {
    owners: Owners,
    name: String,
}

impl Owners {
    /// A coordinator gives signs of life.
    pub(super) fn arrive(&self, name: &str) -> Present {
        let now = Instant::now();
        let mut known = self.lock();
        let presence = known.entry(name.to_owned()).or_insert(Presence {
            pulses: 0,
            seen: now,
        });
        presence.pulses += 1;
        if known.len() > REMEMBERED {
            let oldest = (known.iter())
                .filter(|(_, presence)| presence.pulses == 0)
                .min_by_key(|(_, presence)| presence.seen)
                .map(|(name, _)| name.clone());
            oldest.map(|name| known.remove(&name));
        }
        drop(known);
        Present {
            owners: self.clone(),
            name: name.to_owned(),
        }
    }

    /// How many are there.
    pub(super) fn present(&self) -> usize {
        let known = self.lock();
        (known.values())
            .filter(|presence| presence.pulses > 0)
            .count()
    }

    /// Whether the coordinator `name` is there.
    pub(super) fn is_present(&self, name: &str) -> bool {
        let known = self.lock();
        known.get(name).is_some_and(|presence| presence.pulses > 0)
    }

    /// Waits until one leaves after this call.
    pub(super) fn left(&self) -> Notified<'_> {
        self.0.left.notified()
    }

    /// For how long a coordinator has been away by `now`; none while it is
    /// there. One that was never there has been away since `since`.
    pub(super) fn absence(&self, name: &str, since: Instant, now: Instant) -> Option<Duration> {
        match self.lock().get(name) {
            Some(presence) if presence.pulses > 0 => None,
            Some(presence) => Some(now.saturating_duration_since(presence.seen.max(since))),
            None => Some(now.saturating_duration_since(since)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Presence>> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        if let Some(presence) = self.owners.lock().get_mut(&self.name) {
            presence.pulses -= 1;
            presence.seen = Instant::now();
        }
        self.owners.0.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn absence_counts_from_the_last_sign_of_life() {
        let owners = Owners::default();
        let start = Instant::now();
        let first = owners.arrive("a");
        let second = owners.arrive("a");
        assert_eq!(owners.present(), 1);
        drop(first);
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(owners.absence("a", start, Instant::now()), None);
        drop(second);
        tokio::time::advance(Duration::from_secs(3)).await;
        let absence = |name| owners.absence(name, start, Instant::now());
        assert_eq!(absence("a"), Some(Duration::from_secs(3)));
        assert_eq!(absence("b"), Some(Duration::from_secs(12)));
    }
}
