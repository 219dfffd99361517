//! Who is in which slot. A slot has user ids of its own, so that nobody may
//! enter it before the last process of the build before is gone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};

use tokio::sync::{Mutex, OwnedMutexGuard};

/// The slots that were ever used.
#[derive(Debug, Default)]
pub(super) struct Slots(SyncMutex<BTreeMap<u32, Arc<Mutex<()>>>>);

/// A slot that is in use, until this is dropped.
pub(super) type HeldSlot = OwnedMutexGuard<()>;

impl Slots {
    /// Waits until slot `number` is free, and takes it.
    pub(super) async fn hold(&self, number: u32) -> HeldSlot {
        let slot = {
            let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            slots.entry(number).or_default().clone()
        };
        slot.lock_owned().await
    }
}
