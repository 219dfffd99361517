//! Puts outputs in an order in which each comes after those it refers to. Pure.

use std::collections::{BTreeMap, BTreeSet};

/// Two outputs that need each other.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cycle {
    /// The output that was met twice.
    pub(crate) output: String,
    /// The one that refers to it.
    pub(crate) parent: String,
}

/// The names of `references`, each after those it refers to; what an output
/// says of itself does not count, nor do names that are no key. Visits in the
/// order in which Nix does, so that the same cycle is found.
pub(crate) fn referenced_first(
    references: &BTreeMap<String, BTreeSet<String>>,
) -> Result<Vec<String>, Cycle> {
    let mut visit = Visit {
        references,
        done: BTreeSet::new(),
        open: BTreeSet::new(),
        sorted: Vec::new(),
    };
    for name in references.keys() {
        visit.output(name, name)?;
    }
    Ok(visit.sorted)
}

struct Visit<'a> {
    references: &'a BTreeMap<String, BTreeSet<String>>,
    done: BTreeSet<&'a str>,
    open: BTreeSet<&'a str>,
    sorted: Vec<String>,
}

impl<'a> Visit<'a> {
    /// Recurses as deep as outputs refer to each other, which is as many as a
    /// derivation has.
    fn output(&mut self, name: &'a str, parent: &str) -> Result<(), Cycle> {
        if self.open.contains(name) {
            return Err(Cycle {
                output: name.to_owned(),
                parent: parent.to_owned(),
            });
        }
        if !self.done.insert(name) {
            return Ok(());
        }
        self.open.insert(name);
        if let Some(references) = self.references.get(name) {
            for other in references {
                if other != name && self.references.contains_key(other) {
                    self.output(other, name)?;
                }
            }
        }
        self.open.remove(name);
        self.sorted.push(name.to_owned());
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    /// `"out: lib dev; lib: lib"`.
    fn order(text: &str) -> Result<Vec<String>, Cycle> {
        let references = text.split(';').map(|line| {
            let (name, others) = line.split_once(':').unwrap();
            let others = others.split_whitespace().map(str::to_owned).collect();
            (name.trim().to_owned(), others)
        });
        referenced_first(&references.collect())
    }

    #[test]
    fn referenced_outputs_come_first() {
        let sorted = order("out: lib dev; lib: lib; dev: out0 lib; bin:").unwrap();
        assert_eq!(sorted, ["bin", "lib", "dev", "out"]);
    }

    #[test]
    fn a_cycle_names_both_ends() {
        let cycle = order("a: b; b: c; c: a").unwrap_err();
        assert_eq!((cycle.output.as_str(), cycle.parent.as_str()), ("a", "c"));
    }
}
