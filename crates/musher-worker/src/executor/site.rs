//! What a build holds while it runs: its directories, its slot, its locks. All
//! of it is let go together, when no process of the build is left.

use musher_sandbox::Group;
use musher_store::local::{OutputLocks, TempRoots};
use tokio::runtime::Handle;

use super::room::Room;
use super::slots::HeldSlot;

/// What a build holds. Dropping it lets go of everything, without delay for
/// the task that does it.
#[derive(Debug)]
pub(super) struct Site(Option<Parts>);

/// Dropped in this order: the slot is free once the rest is gone.
#[derive(Debug)]
struct Parts {
    group: Group,
    room: Room,
    _locks: OutputLocks,
    roots: TempRoots,
    _slot: HeldSlot,
}

impl Site {
    /// The site of a build in `room`, counted by `group`.
    pub(super) fn new(
        room: Room,
        group: Group,
        locks: OutputLocks,
        roots: TempRoots,
        slot: HeldSlot,
    ) -> Self {
        Self(Some(Parts {
            group,
            room,
            _locks: locks,
            roots,
            _slot: slot,
        }))
    }

    /// The build's directories.
    pub(super) fn room(&self) -> &Room {
        &self.parts().room
    }

    /// What counts what it uses.
    pub(super) fn group(&self) -> &Group {
        &self.parts().group
    }

    /// What keeps its inputs and outputs from being collected.
    pub(super) fn roots(&self) -> &TempRoots {
        &self.parts().roots
    }

    fn parts(&self) -> &Parts {
        match &self.0 {
            Some(parts) => parts,
            None => unreachable!("bug: a site is cleared only as it is given up"),
        }
    }

    /// Lets go of everything, and waits until it is gone.
    pub(super) fn clear(mut self) {
        self.0.take();
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let Some(parts) = self.0.take() else { return };
        // Removing what a build left takes its time, and whoever drops this
        // may be a task that others wait for.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn_blocking(move || drop(parts));
        }
    }
}
