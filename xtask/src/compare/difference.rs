//! Where a build of ours differs from stock Nix's. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::ours::{Ours, Who};
use super::stock::Stock;

/// How names of cases begin whose logs are facts, a line `name: value` each.
const FACTS: &str = "facts-";

/// How much of its log is there depends on how the build was scheduled.
const LIMITED_LOG: &str = "limited-log";

/// One thing that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// The case.
    pub(super) case: String,
    /// What differs: `class`, `outputs`, `log`, `error`, or a fact's name.
    pub(super) what: String,
    /// Who built.
    pub(super) who: Who,
    /// What stock Nix has.
    pub(super) stock: String,
    /// What we have.
    pub(super) ours: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            case,
            what,
            who,
            stock,
            ours,
        } = self;
        write!(f, "{case}, {what}, as {}", who.name())?;
        write!(f, "\n  Nix:    {}", stock.replace('\n', "\n          "))?;
        write!(f, "\n  Musher: {}", ours.replace('\n', "\n          "))
    }
}

/// Everything in which `ours` differs from `stock`.
pub(super) fn differences(case: &str, who: Who, stock: &Stock, ours: &Ours) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut add = |what: &str, stock: String, ours: String| {
        found.push(Difference {
            case: case.to_owned(),
            what: what.to_owned(),
            who,
            stock,
            ours,
        });
    };
    let expected = exit_of(&ours.status, &ours.error);
    if !stock.exit.is_some_and(|exit| expected.contains(&exit)) {
        add(
            "class",
            format!(
                "nix-store ends with {:?}\n{}",
                stock.exit,
                stock.told.trim()
            ),
            format!("{}\n{}", ours.status, ours.error),
        );
    }
    if stock.outputs != ours.output_paths() {
        add(
            "outputs",
            format!("{:#?}", stock.outputs),
            format!("{:#?}", ours.output_paths()),
        );
    }
    if case.starts_with(FACTS) {
        let (stock, ours) = (facts(&stock.log), facts(&ours.log));
        let names: BTreeSet<&str> = stock.keys().chain(ours.keys()).copied().collect();
        for name in names {
            let (stock, ours) = (stock.get(name), ours.get(name));
            if stock != ours {
                let shown = |facts: Option<&Vec<&str>>| {
                    facts.map_or_else(|| "(nothing)".to_owned(), |facts| facts.join("\n"))
                };
                add(name, shown(stock), shown(ours));
            }
        }
    } else if case != LIMITED_LOG && stock.log != ours.log {
        add("log", stock.log.join("\n"), ours.log.join("\n"));
    }
    let unsaid = unsaid(&stock.told, &ours.error);
    if !unsaid.is_empty() {
        add("error", stock.told.trim().to_owned(), unsaid.join("\n"));
    }
    found
}

/// How `nix-store --realise` may end for a build of the class `status`.
fn exit_of(status: &str, error: &str) -> &'static [i32] {
    match status {
        "Built" | "AlreadyValid" => &[0],
        "PermanentFailure" => &[100],
        "TimedOut" => &[101],
        "InputRejected" => &[1, 100],
        "OutputRejected" if error.contains("hash mismatch") => &[102],
        "NotDeterministic" => &[104],
        // Of what a dependency did its class is told.
        "DependencyFailed" => &[1, 100],
        _ => &[1],
    }
}

/// The values of every fact, in the order in which they were found.
fn facts(log: &[String]) -> BTreeMap<&str, Vec<&str>> {
    let mut facts: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in log {
        let (name, value) = line.split_once(':').unwrap_or(("(no fact)", line));
        facts.entry(name.trim()).or_default().push(value.trim());
    }
    facts
}

/// The lines of an error of ours that stock Nix does not say. It indents them,
/// and puts its own words before the first.
fn unsaid<'a>(told: &str, error: &'a str) -> Vec<&'a str> {
    let told: Vec<String> = told.lines().map(|line| logical(line.trim())).collect();
    let said = |line: &str| {
        let line = logical(line);
        told.iter().any(|told| told.ends_with(&line))
    };
    error
        .lines()
        .map(str::trim)
        .filter(|line| !said(line))
        .collect()
}

/// `line` with places on disk turned into the store paths that lie there, and
/// one kind of quotes.
fn logical(line: &str) -> String {
    let line = line.replace('"', "'");
    let mut words = Vec::new();
    for word in line.split('\'') {
        let store = word.rfind("/store/").filter(|_| word.starts_with('/'));
        words.push(match store {
            Some(store) => format!("/nix{}", &word[store..]),
            None => word.to_owned(),
        });
    }
    words.join("'")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stock(exit: i32, told: &str, log: &[&str]) -> Stock {
        Stock {
            exit: Some(exit),
            told: told.to_owned(),
            log: log.iter().map(|line| (*line).to_owned()).collect(),
            outputs: BTreeSet::new(),
        }
    }

    fn ours(status: &str, error: &str, log: &[&str]) -> Ours {
        Ours {
            status: status.to_owned(),
            error: error.to_owned(),
            log: log.iter().map(|line| (*line).to_owned()).collect(),
            ..Ours::default()
        }
    }

    fn whats(case: &str, stock: &Stock, ours: &Ours) -> Vec<String> {
        let found = differences(case, Who::Root, stock, ours);
        found
            .into_iter()
            .map(|difference| difference.what)
            .collect()
    }

    #[test]
    fn the_same_is_no_difference() {
        let told = "building 'x'...\nerror: Cannot build 'x'.\n       Reason: it failed.";
        let stock = stock(100, told, &["line"]);
        let ours = ours(
            "PermanentFailure",
            "Cannot build 'x'.\nReason: it failed.",
            &["line"],
        );
        assert_eq!(whats("x", &stock, &ours), [""; 0]);
    }

    #[test]
    fn places_are_store_paths() {
        let nix = logical("at \"/nix/store/x.drv.chroot/root/nix/store/y\"");
        let ours = logical("at '/home/you/builds/rooms/1/scratch/store/y'");
        assert_eq!(nix, "at '/nix/store/y'");
        assert_eq!(ours, nix);
    }

    #[test]
    fn differences_are_named() {
        let stock = stock(100, "error: one", &["a: 1", "b: 2", "b: 3"]);
        let ours = ours("Built", "two", &["a: 1", "b: 2", "c: 4"]);
        assert_eq!(whats("x", &stock, &ours), ["class", "log", "error"]);
        assert_eq!(
            whats("facts-x", &stock, &ours),
            ["class", "b", "c", "error"]
        );
    }
}
