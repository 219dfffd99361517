//! How many builds run here at once. Each has a number of its own meanwhile,
//! the lowest that is free: user ids and scratch places go by it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// The slots of this worker. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Slots(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The most at once; none where only the coordinator's word counts.
    most: Option<u32>,
    taken: Mutex<BTreeSet<u32>>,
    freed: Notify,
}

/// A slot that is taken, until it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    shared: Arc<Shared>,
    number: u32,
}

impl Slots {
    /// At most `most` slots, or as many as are asked for.
    pub(super) fn new(most: Option<u32>) -> Self {
        Self(Arc::new(Shared {
            most,
            taken: Mutex::default(),
            freed: Notify::new(),
        }))
    }

    /// The most at once, if there is a limit.
    pub(super) fn most(&self) -> Option<u32> {
        self.0.most
    }

    /// Waits until fewer than `limit` slots are taken (none: no limit), and
    /// takes one.
    pub(super) async fn take(&self, limit: Option<u32>) -> Slot {
        let most = [limit, self.0.most].into_iter().flatten().min();
        loop {
            // Asked for before looking, so that none freed between is missed.
            let freed = self.0.freed.notified();
            if let Some(number) = self.0.try_take(most) {
                let shared = self.0.clone();
                return Slot { shared, number };
            }
            freed.await;
        }
    }
}

impl Shared {
    fn try_take(&self, most: Option<u32>) -> Option<u32> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if most.is_some_and(|most| taken.len() >= most as usize) {
            return None;
        }
        let number = (0..).find(|number| !taken.contains(number))?;
        taken.insert(number);
        Some(number)
    }
}

impl Slot {
    /// Its number, from 0.
    pub(super) fn number(&self) -> u32 {
        self.number
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = (self.shared.taken.lock()).unwrap_or_else(PoisonError::into_inner);
        taken.remove(&self.number);
        drop(taken);
        self.shared.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::Slots;

    #[tokio::test]
    async fn the_lowest_free_number_is_taken_and_the_stricter_limit_counts() {
        let slots = Slots::new(Some(2));
        let first = slots.take(None).await;
        let second = slots.take(Some(8)).await;
        assert_eq!((first.number(), second.number()), (0, 1));
        assert!(slots.take(Some(8)).now_or_never().is_none());
        drop(first);
        assert!(slots.take(Some(1)).now_or_never().is_none());
        let third = slots.take(Some(2)).now_or_never().expect("a free slot");
        assert_eq!(third.number(), 0);
    }
}
