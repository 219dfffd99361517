//! The builds that wait, by class and in order. Knows nothing of machines.

use std::collections::BTreeMap;

use crate::BuildId;
use crate::build::{Class, Turn};

/// Waiting builds in one line a class. No line is empty, so walking the lines
/// costs as much as there are kinds of builds waiting, not builds.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    lines: BTreeMap<Class, BTreeMap<Turn, BuildId>>,
}

impl Queue {
    /// Puts a build in line.
    pub(crate) fn insert(&mut self, class: &Class, turn: Turn, build: BuildId) {
        match self.lines.get_mut(class) {
            Some(line) => {
                line.insert(turn, build);
            }
            None => {
                (self.lines).insert(class.clone(), [(turn, build)].into());
            }
        }
    }

    /// Takes a build out of its line.
    pub(crate) fn remove(&mut self, class: &Class, turn: Turn) {
        if let Some(line) = self.lines.get_mut(class) {
            line.remove(&turn);
            if line.is_empty() {
                self.lines.remove(class);
            }
        }
    }

    /// The first of each line.
    pub(crate) fn heads(&self) -> impl Iterator<Item = (&Class, Turn, BuildId)> {
        (self.lines.iter()).filter_map(|(class, line)| {
            let (turn, build) = line.first_key_value()?;
            Some((class, *turn, *build))
        })
    }

    /// Each line, in no order that means anything.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&Class, &BTreeMap<Turn, BuildId>)> {
        self.lines.iter()
    }

    /// How many builds wait before `turn`, whatever their class.
    pub(crate) fn ahead_of(&self, turn: Turn) -> usize {
        (self.lines.values())
            .map(|line| line.range(..turn).count())
            .sum()
    }
}
