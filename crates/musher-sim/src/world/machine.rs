//! A machine as it truly is: its slots, its store, its link. Knows nothing of
//! who decides what runs on it.

use std::collections::BTreeMap;

use musher_scheduler::{MachineId, MachineSpec, Presence, Timestamp};

use super::DerivationId;

/// A machine of the world.
#[derive(Debug)]
pub struct Machine {
    /// What it offers.
    pub spec: MachineSpec,
    /// Whether it is reached.
    pub presence: Presence,
    /// Whether it is given no new attempts.
    pub drained: bool,
    /// The attempts that take a slot, those that are to stop included.
    pub taken: u32,
    /// Bytes that came over its link.
    pub fetched_bytes: u64,
    /// What arrives over its link, in bytes a millisecond; `None` if transfers
    /// take no time.
    rate: Option<f64>,
    /// When its link has carried all that it is to carry, in milliseconds.
    link_free: f64,
    /// Outputs that its store holds, or will hold from this moment on.
    held: BTreeMap<DerivationId, f64>,
}

impl Machine {
    pub(super) fn new(spec: MachineSpec, mbit: Option<f64>) -> Self {
        Self {
            spec,
            presence: Presence::Available,
            drained: false,
            taken: 0,
            fetched_bytes: 0,
            rate: mbit.map(|mbit| mbit * 1e6 / 8.0 / 1e3),
            link_free: 0.0,
            held: BTreeMap::new(),
        }
    }

    /// Its name.
    pub fn id(&self) -> &MachineId {
        &self.spec.id
    }

    /// Whether new attempts may be sent there, if it has a free slot.
    pub fn is_open(&self) -> bool {
        self.presence == Presence::Available && !self.drained
    }

    /// What a transfer to it is found to do, in bytes a second: very much where
    /// transfers take no time.
    pub(super) fn measured_link(&self) -> f64 {
        self.rate.map_or(1e15, |rate| rate * 1e3)
    }

    /// Gets an output there; what is on its way already is waited for. When it
    /// will be there, in milliseconds, and whether a transfer was begun for it.
    pub(super) fn fetch(
        &mut self,
        now: Timestamp,
        output: DerivationId,
        bytes: u64,
    ) -> (f64, bool) {
        if let Some(there) = self.held.get(&output) {
            return (*there, false);
        }
        let now = millis(now);
        let there = match self.rate {
            None => now,
            Some(rate) => {
                self.link_free = self.link_free.max(now) + bytes as f64 / rate;
                self.link_free
            }
        };
        self.held.insert(output, there);
        self.fetched_bytes += bytes;
        (there, true)
    }

    /// Has built an output.
    pub(super) fn make(&mut self, now: Timestamp, output: DerivationId) {
        self.held.insert(output, millis(now));
    }

    /// Loses everything its store holds.
    pub(super) fn lose_store(&mut self) {
        self.held.clear();
    }

    /// Loses its connection: what was on its way does not arrive.
    pub(super) fn lose_link(&mut self, now: Timestamp) {
        let now = millis(now);
        self.held.retain(|_, there| *there <= now);
        self.link_free = 0.0;
    }
}

fn millis(at: Timestamp) -> f64 {
    at.as_millis() as f64
}
