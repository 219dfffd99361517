//! The builds that wait, by class, by who asks, and in order. Knows nothing of
//! machines.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, btree_set};

use crate::Timestamp;
use crate::build::ClassId;
use crate::rank::Place;
use crate::request::{Asker, Share};

/// How one asker stands in a line.
#[derive(Debug)]
struct Asking {
    share: Share,
    /// Its waiting builds, the most urgent first. Never empty.
    places: BTreeSet<Place>,
    /// When its patience is at an end.
    until: Timestamp,
}

/// The waiting builds of one class.
#[derive(Debug, Default)]
struct Line {
    askers: BTreeMap<Asker, Asking>,
    /// The askers in the order in which they get slots.
    order: BTreeSet<(Share, Place, Asker)>,
    /// The askers in the order in which they lose patience.
    patience: BTreeSet<(Timestamp, Asker)>,
}

/// Waiting builds in one line a class. No line is empty, so walking the lines
/// costs as much as there are kinds of builds waiting, not builds.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    lines: BTreeMap<ClassId, Line>,
    /// The lines in which each asker has builds.
    standing: BTreeMap<Asker, BTreeSet<ClassId>>,
}

impl Line {
    /// Changes how `asker` stands, and the orders with it.
    fn change(&mut self, asker: Asker, change: impl FnOnce(&mut Asking)) {
        let Some(asking) = self.askers.get_mut(&asker) else {
            return;
        };
        if let Some(first) = asking.places.first() {
            self.order.remove(&(asking.share, *first, asker));
        }
        self.patience.remove(&(asking.until, asker));
        change(asking);
        match asking.places.first() {
            Some(first) => {
                self.order.insert((asking.share, *first, asker));
                self.patience.insert((asking.until, asker));
            }
            None => {
                self.askers.remove(&asker);
            }
        }
    }
}

impl Queue {
    /// Puts a build in line. `share` is the asker's, whose patience ends at
    /// `until` if it did not stand in this line before.
    pub(crate) fn insert(
        &mut self,
        class: ClassId,
        asker: Asker,
        place: Place,
        share: Share,
        until: Timestamp,
    ) {
        let line = self.lines.entry(class).or_default();
        line.askers.entry(asker).or_insert(Asking {
            share,
            places: BTreeSet::new(),
            until,
        });
        line.change(asker, |asking| {
            asking.share = share;
            asking.places.insert(place);
        });
        self.standing.entry(asker).or_default().insert(class);
    }

    /// Takes a build out of its line.
    pub(crate) fn remove(&mut self, class: ClassId, asker: Asker, place: &Place) {
        let Some(line) = self.lines.get_mut(&class) else {
            return;
        };
        line.change(asker, |asking| {
            asking.places.remove(place);
        });
        if line.askers.contains_key(&asker) {
            return;
        }
        if line.askers.is_empty() {
            self.lines.remove(&class);
        }
        if let Some(classes) = self.standing.get_mut(&asker) {
            classes.remove(&class);
            if classes.is_empty() {
                self.standing.remove(&asker);
            }
        }
    }

    /// Says what share `asker` has now.
    pub(crate) fn share(&mut self, asker: Asker, share: Share) {
        for class in self.standing.get(&asker).into_iter().flatten() {
            let Some(line) = self.lines.get_mut(class) else {
                continue;
            };
            if (line.askers.get(&asker)).is_some_and(|asking| asking.share != share) {
                line.change(asker, |asking| asking.share = share);
            }
        }
    }

    /// Says that `asker` got a slot for a build of `class`: it has patience
    /// until then.
    pub(crate) fn served(&mut self, class: ClassId, asker: Asker, until: Timestamp) {
        if let Some(line) = self.lines.get_mut(&class) {
            line.change(asker, |asking| asking.until = until);
        }
    }

    /// The classes of which builds wait.
    pub(crate) fn classes(&self) -> impl Iterator<Item = ClassId> {
        self.lines.keys().copied()
    }

    /// The waiting builds of `class`, each for one of its askers.
    pub(crate) fn of_class(&self, class: ClassId) -> impl Iterator<Item = &Place> {
        let line = self.lines.get(&class).into_iter();
        line.flat_map(|line| line.askers.values().flat_map(|asking| &asking.places))
    }

    /// The waiting builds of `classes` in the order in which they are to get
    /// slots, as if each of them got one when it is its turn. Whoever has no
    /// patience left is first. `step` is what each attempt adds to a share.
    pub(crate) fn walk<'a>(
        &'a self,
        now: Timestamp,
        classes: impl IntoIterator<Item = ClassId>,
        step: impl Fn(Asker) -> u64 + 'a,
    ) -> impl Iterator<Item = (ClassId, Asker, Place)> + 'a {
        let mut walk = Walk {
            heap: BinaryHeap::new(),
            lines: Vec::new(),
            step,
        };
        for class in classes {
            let Some(line) = self.lines.get(&class) else {
                continue;
            };
            if let Some((until, asker)) = line.patience.first()
                && *until <= now
                && line.askers[asker].share < Share::NONE
            {
                walk.begin(Share::FIRST, class, *asker, &line.askers[asker]);
            }
            let number = walk.lines.len();
            walk.lines.push((class, line, line.order.iter()));
            walk.advance(number);
        }
        walk
    }
}

/// Who is next, in a walk through several lines.
struct Next<'a> {
    share: Share,
    place: Place,
    class: ClassId,
    asker: Asker,
    /// The asker's builds after this one.
    rest: btree_set::Iter<'a, Place>,
    /// The line whose next asker is to be looked at after this one.
    line: Option<usize>,
}

impl Next<'_> {
    fn key(&self) -> Reverse<(Share, Place, ClassId, Asker)> {
        Reverse((self.share, self.place, self.class, self.asker))
    }
}

impl PartialEq for Next<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Next<'_> {}

impl PartialOrd for Next<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Next<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// The askers of a line that are still to come.
type Order<'a> = btree_set::Iter<'a, (Share, Place, Asker)>;

/// A walk through several lines at once, which looks no further than it goes.
struct Walk<'a, F> {
    heap: BinaryHeap<Next<'a>>,
    lines: Vec<(ClassId, &'a Line, Order<'a>)>,
    step: F,
}

impl<'a, F: Fn(Asker) -> u64> Walk<'a, F> {
    fn begin(&mut self, share: Share, class: ClassId, asker: Asker, asking: &'a Asking) {
        let mut rest = asking.places.iter();
        if let Some(place) = rest.next() {
            self.heap.push(Next {
                share,
                place: *place,
                class,
                asker,
                rest,
                line: None,
            });
        }
    }

    /// Lets the next asker of a line take part.
    fn advance(&mut self, number: usize) {
        let (class, line, order) = &mut self.lines[number];
        // Those that may have no slot come last.
        let next = order.next().filter(|(share, ..)| *share < Share::NONE);
        let Some((share, place, asker)) = next else {
            return;
        };
        let mut rest = line.askers[asker].places.iter();
        rest.next();
        self.heap.push(Next {
            share: *share,
            place: *place,
            class: *class,
            asker: *asker,
            rest,
            line: Some(number),
        });
    }
}

impl<F: Fn(Asker) -> u64> Iterator for Walk<'_, F> {
    type Item = (ClassId, Asker, Place);

    fn next(&mut self) -> Option<Self::Item> {
        let mut next = self.heap.pop()?;
        let item = (next.class, next.asker, next.place);
        if let Some(line) = next.line.take() {
            self.advance(line);
        }
        if let Some(place) = next.rest.next() {
            next.place = *place;
            let step = (self.step)(next.asker);
            next.share = Share(next.share.0.saturating_add(step).min(Share::NONE.0 - 1));
            self.heap.push(next);
        }
        Some(item)
    }
}
