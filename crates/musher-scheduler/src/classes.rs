//! The classes of the builds there are, each under a number, and which groups of
//! machines suit each. Knows nothing of single builds.

use std::collections::BTreeMap;

use crate::build::{Class, ClassId};
use crate::fleet::Fleet;

#[derive(Debug)]
struct Entry {
    class: Class,
    /// How many builds are of it.
    builds: usize,
    /// The numbers of the groups that suit it, as of an epoch of the fleet.
    suitable: Vec<usize>,
    epoch: Option<u64>,
}

/// Classes by number and by what they are.
#[derive(Debug, Default)]
pub(crate) struct Classes {
    entries: BTreeMap<ClassId, Entry>,
    numbers: BTreeMap<Class, ClassId>,
    next: usize,
}

impl Classes {
    /// The number of `class`, for one more build. To be given back by `release`.
    pub(crate) fn acquire(&mut self, class: Class) -> ClassId {
        let id = *self.numbers.entry(class.clone()).or_insert_with(|| {
            self.next += 1;
            ClassId(self.next)
        });
        let entry = self.entries.entry(id).or_insert(Entry {
            class,
            builds: 0,
            suitable: Vec::new(),
            epoch: None,
        });
        entry.builds += 1;
        id
    }

    /// One build less is of the class.
    pub(crate) fn release(&mut self, id: ClassId) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.builds -= 1;
        if entry.builds == 0 {
            self.numbers.remove(&entry.class);
            self.entries.remove(&id);
        }
    }

    /// The class of that number, of which there are builds.
    pub(crate) fn get(&self, id: ClassId) -> &Class {
        match self.entries.get(&id) {
            Some(entry) => &entry.class,
            None => panic!("bug: no builds of {id:?}"),
        }
    }

    /// Looks up again which groups suit each of `classes`, if there are others
    /// than there were.
    pub(crate) fn refresh(&mut self, fleet: &Fleet, classes: impl Iterator<Item = ClassId>) {
        for id in classes {
            let Some(entry) = self.entries.get_mut(&id) else {
                continue;
            };
            if entry.epoch == Some(fleet.epoch()) {
                continue;
            }
            entry.epoch = Some(fleet.epoch());
            let needs = &entry.class.needs;
            entry.suitable = (fleet.groups().values().enumerate())
                .filter(|(_, group)| needs.lacks(&group.like).is_empty())
                .map(|(number, _)| number)
                .collect();
        }
    }

    /// The numbers of the groups that suit a class, as of the last `refresh`.
    pub(crate) fn suitable(&self, id: ClassId) -> &[usize] {
        self.entries
            .get(&id)
            .map_or(&[], |entry| entry.suitable.as_slice())
    }
}
