//! The file that `builders = @…` includes: one line and one URL a capability
//! class, so that Nix never sends what no machine can build, and counts the
//! slots of each class apart (it names its slot locks by the URL alone).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use musher_scheduler::CapabilityClass;

use super::entrance::Entrance;
use super::replace_file::{ReplaceError, replace_file};

const HEADER: &str = "\
# Machines by what they can build. Written by musher, also when machines
# come and go: changes made here are lost.
";

/// The text of the builders file.
pub(super) fn render(classes: &[CapabilityClass], entrance: &Entrance) -> String {
    let lines = classes.iter().map(|class| line(class, entrance));
    HEADER.to_owned() + &lines.collect::<String>()
}

fn line(class: &CapabilityClass, entrance: &Entrance) -> String {
    format!(
        "{} {} - {} {} {} {} -\n",
        entrance.url(&class.name),
        column(&class.systems),
        nix_max_jobs(class.slots),
        nix_speed_factor(class.max_speed_factor.value()),
        column(&class.supported_features),
        column(&class.mandatory_features),
    )
}

fn column(words: &BTreeSet<String>) -> String {
    if words.is_empty() {
        return "-".to_owned();
    }
    words
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(",")
}

/// Older Nix, 2.8 among them, takes whole numbers only. The factor chooses between our own
/// lines at most: which machine builds is not for Nix to say.
fn nix_speed_factor(speed: f64) -> String {
    format!("{:.0}", speed.max(1.0))
}

/// How many builds of a class Nix may hand over at once, for that many slots.
///
/// More than there are slots, because a build beyond this number is not queued
/// by Nix: it asks again every 5 s (`build-poll-interval`), and nothing wakes it
/// when a slot frees. The surplus must therefore last for 5 s. Eight builds a
/// slot do when builds take 0.7 s or more each, on average.
///
/// Not as many as anyone might want, because each accepted build costs the
/// client two processes while it waits: 3 MB that no other shares for that of
/// Nix (2.8), and our session. And not more than 256 beyond the slots: Nix asks
/// its questions one after the other, some 20 ms each, so that no more could be
/// accepted between two polls anyway. At least 64 beyond, so that a small team
/// takes a burst of trivial builds at one go.
pub fn nix_max_jobs(slots: u32) -> u32 {
    const A_SLOT: u32 = 7;
    const LEAST: u32 = 64;
    const MOST: u32 = 256;
    slots.saturating_add(slots.saturating_mul(A_SLOT).clamp(LEAST, MOST))
}

/// Brings the builders file up to date with the machines, atomically; says
/// whether it had to be written.
pub fn write_builders_file(
    path: &Path,
    classes: &[CapabilityClass],
    entrance: &Entrance,
) -> Result<bool, ReplaceError> {
    let text = render(classes, entrance);
    if fs::read_to_string(path).is_ok_and(|current| current == text) {
        return Ok(false);
    }
    replace_file(path, &text)?;
    Ok(true)
}

/// Whether the builders file with this `text` is that of `entrance`. Two
/// installations on one host share the place of that file, and only one of them
/// is Nix's. A file without a machine leads nowhere, and is anybody's.
pub(crate) fn leads_to(text: &str, entrance: &Entrance) -> bool {
    let ours = entrance.url("");
    let mut lines = (text.lines())
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .peekable();
    lines.peek().is_none() || lines.any(|line| line.starts_with(&ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_installations_file_is_not_ours() {
        let entrance = |options: &[&str]| {
            Entrance::new(Path::new("/usr/bin/musher"), options).expect("an entrance")
        };
        let (ours, theirs) = (entrance(&[]), entrance(&["--run", "/run/theirs"]));
        let line = |entrance: &Entrance| format!("# ours\n{} - - 1\n", entrance.url("any"));
        assert!(leads_to(&line(&ours), &ours));
        assert!(!leads_to(&line(&theirs), &ours));
        assert!(!leads_to(&line(&ours), &theirs));
        assert!(leads_to(HEADER, &ours));
    }

    #[test]
    fn nix_hands_over_enough_for_one_poll() {
        assert_eq!(nix_max_jobs(1), 65);
        assert_eq!(nix_max_jobs(16), 128);
        assert_eq!(nix_max_jobs(100), 356);
        assert_eq!(nix_max_jobs(u32::MAX), u32::MAX);
    }

    #[test]
    fn speed_factors_are_whole() {
        assert_eq!(nix_speed_factor(0.25), "1");
        assert_eq!(nix_speed_factor(2.0), "2");
        assert_eq!(nix_speed_factor(2.7), "3");
    }
}
