//! The differences that are meant to be, as the document lists them. Pure.
//!
//! ```text
//! entry = "| `" case "` | `" what "` | " who " | " reason " |"
//! who   = "both" | "root" | "rootless"
//! ```
//!
//! `case` and `what` may end in `*`, for any ending.

use std::fmt;

use anyhow::{Result, bail, ensure};

use super::difference::Difference;
use super::ours::Who;

/// The differences that are meant to be.
pub(super) struct Accepted(Vec<Entry>);

/// One of them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    case: String,
    what: String,
    /// None for everybody.
    who: Option<Who>,
    reason: String,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = self.who.map_or("both", Who::name);
        write!(f, "{}, {}, {who}", self.case, self.what)
    }
}

impl Accepted {
    /// Those that the document's tables list.
    pub(super) fn read(document: &str) -> Result<Self> {
        let entries = document
            .lines()
            .filter(|line| line.starts_with("| `"))
            .map(Entry::read);
        entries.collect::<Result<_>>().map(Self)
    }

    /// Why a difference is meant to be, if it is.
    pub(super) fn reason(&self, difference: &Difference) -> Option<&str> {
        let entry = self.0.iter().find(|entry| entry.covers(difference))?;
        Some(&entry.reason)
    }

    /// Those that none of `found` is.
    pub(super) fn unseen(&self, found: &[Difference]) -> Vec<&Entry> {
        let seen = |entry: &&Entry| found.iter().any(|difference| entry.covers(difference));
        self.0.iter().filter(|entry| !seen(entry)).collect()
    }
}

impl Entry {
    fn read(line: &str) -> Result<Self> {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [case, what, who, reason] = cells[..] else {
            bail!("no entry of four cells: {line}");
        };
        ensure!(!reason.is_empty(), "no reason is given: {line}");
        Ok(Self {
            case: case.trim_matches('`').to_owned(),
            what: what.trim_matches('`').to_owned(),
            who: match who {
                "both" => None,
                "root" => Some(Who::Root),
                "rootless" => Some(Who::Rootless),
                _ => bail!("`{who}` is nobody who builds: {line}"),
            },
            reason: reason.to_owned(),
        })
    }

    fn covers(&self, difference: &Difference) -> bool {
        fits(&self.case, &difference.case)
            && fits(&self.what, &difference.what)
            && self.who.is_none_or(|who| who == difference.who)
    }
}

fn fits(pattern: &str, text: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => text.starts_with(start),
        None => pattern == text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(case: &str, what: &str, who: Who) -> Difference {
        Difference {
            case: case.to_owned(),
            what: what.to_owned(),
            who,
            stock: String::new(),
            ours: String::new(),
        }
    }

    #[test]
    fn the_documents_entries_cover_differences() {
        let document = "# Title\n\n| case | what | who | reason |\n|---|---|---|---|\n\
            | `facts-mounts` | `/usr*` | both | read only |\n\
            | `other` | `log` | rootless | it has | none |\n";
        assert!(Accepted::read(document).is_err());
        let accepted = Accepted::read(&document.replace("has | none", "has none"));
        let accepted = accepted.expect("entries");
        let usr = difference("facts-mounts", "/usr/lib", Who::Root);
        assert_eq!(accepted.reason(&usr), Some("read only"));
        let log = difference("other", "log", Who::Root);
        assert_eq!(accepted.reason(&log), None);
        let unseen = accepted.unseen(&[usr, log]);
        assert_eq!(unseen.len(), 1);
        assert_eq!(unseen[0].to_string(), "other, log, rootless");
    }
}
