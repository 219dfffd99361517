//! The store paths that count, each under a number, and which machines hold
//! them. Knows nothing of builds.

use std::collections::{BTreeMap, BTreeSet};

use nix_derivation::StorePath;

use crate::{Input, MachineId};

/// The number of a path. Sets of numbers are small and quick to search, where
/// paths are long and compare slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PathId(usize);

/// What a path is found by: its digest and its name.
type Key = ([u8; 20], Box<str>);

#[derive(Debug)]
struct Entry {
    key: Key,
    /// The machines known to hold it.
    holders: BTreeSet<MachineId>,
    /// How many builds read it.
    readers: usize,
}

/// An input of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Needed {
    pub(crate) path: PathId,
    pub(crate) nar_size: u64,
}

/// Paths that are held somewhere or read by some build.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    numbers: BTreeMap<Key, PathId>,
    entries: BTreeMap<PathId, Entry>,
    next: usize,
}

fn key(path: &StorePath) -> Key {
    (*path.digest(), path.name().into())
}

impl Paths {
    fn number(&mut self, path: &StorePath) -> PathId {
        let key = key(path);
        if let Some(id) = self.numbers.get(&key) {
            return *id;
        }
        self.next += 1;
        let id = PathId(self.next);
        self.numbers.insert(key.clone(), id);
        let entry = Entry {
            key,
            holders: BTreeSet::new(),
            readers: 0,
        };
        self.entries.insert(id, entry);
        id
    }

    /// `machine` holds `path`; the path's number.
    pub(crate) fn hold(&mut self, machine: &MachineId, path: &StorePath) -> PathId {
        let id = self.number(path);
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.holders.insert(machine.clone());
        }
        id
    }

    /// The number of a path, if it counts.
    pub(crate) fn find(&self, path: &StorePath) -> Option<PathId> {
        self.numbers.get(&key(path)).copied()
    }

    /// `machine` may not hold a path any more.
    pub(crate) fn forget(&mut self, machine: &MachineId, id: PathId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.holders.remove(machine);
            self.drop_unused(id);
        }
    }

    /// A build reads these.
    pub(crate) fn read(&mut self, inputs: Vec<Input>) -> Vec<Needed> {
        let mut needed = Vec::with_capacity(inputs.len());
        for input in inputs {
            let path = self.number(&input.path);
            if let Some(entry) = self.entries.get_mut(&path) {
                entry.readers += 1;
            }
            let nar_size = input.nar_size;
            needed.push(Needed { path, nar_size });
        }
        needed
    }

    /// A build that read these is gone.
    pub(crate) fn unread(&mut self, inputs: Vec<Needed>) {
        for input in inputs {
            if let Some(entry) = self.entries.get_mut(&input.path) {
                entry.readers -= 1;
                self.drop_unused(input.path);
            }
        }
    }

    /// The machines known to hold a path.
    pub(crate) fn holders(&self, id: PathId) -> Option<&BTreeSet<MachineId>> {
        self.entries.get(&id).map(|entry| &entry.holders)
    }

    fn drop_unused(&mut self, id: PathId) {
        if let Some(entry) = self.entries.get(&id)
            && entry.holders.is_empty()
            && entry.readers == 0
        {
            self.numbers.remove(&entry.key);
            self.entries.remove(&id);
        }
    }
}
