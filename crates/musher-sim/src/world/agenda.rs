//! What is going to happen, by virtual time. Knows not what it means.

use std::collections::BTreeMap;

use musher_scheduler::{LeaseId, Timestamp};

/// Where something stands on the agenda: by time, then as it was put there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    at: Timestamp,
    number: u64,
}

/// What happens to an attempt next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Happening {
    /// Its inputs are there, and its build begins.
    Begins(LeaseId),
    /// Its machine is done with it.
    Ends(LeaseId),
    /// The coordinator hears that it is over.
    IsReported(LeaseId),
}

/// Everything that is going to happen.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    places: BTreeMap<Place, Happening>,
    next_number: u64,
}

impl Agenda {
    /// Puts something on the agenda; where it stands now.
    pub(super) fn put(&mut self, at: Timestamp, happening: Happening) -> Place {
        let number = self.next_number;
        self.next_number += 1;
        let place = Place { at, number };
        self.places.insert(place, happening);
        place
    }

    /// Takes something off, if it has not happened.
    pub(super) fn strike(&mut self, place: Place) {
        self.places.remove(&place);
    }

    /// When the next thing happens.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        self.places.first_key_value().map(|(place, _)| place.at)
    }

    /// The next thing to happen, taken off.
    pub(super) fn take(&mut self) -> Option<(Timestamp, Happening)> {
        let (place, happening) = self.places.pop_first()?;
        Some((place.at, happening))
    }
}
