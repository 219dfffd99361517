//! What a process of Nix has in its file of temporary roots: absolute paths,
//! each followed by a zero byte. It only ever grows. Knows no process and no
//! file.
//!
//! Evaluating puts every derivation there that it makes. Whatever realises
//! something then puts each derivation of the request there, followed by its
//! outputs, before the first of them is built (seen with Nix 2.8, 2.26 and
//! 2.34). So it is the outputs that tell what is wanted from what is only known.

use std::collections::{BTreeMap, BTreeSet};

const DERIVATION: &[u8] = b".drv";

/// Derivations that are to be realised, each with those of its outputs that are
/// temporary roots.
pub(crate) type Intended = BTreeMap<String, BTreeSet<String>>;

/// A part of such a file, from some place on to its end.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) intended: Intended,
    /// How much of it need not be read again, in bytes: of the last derivation
    /// there may be more to come.
    pub(crate) settled: usize,
}

/// Reads a part, which begins where a path does.
pub(crate) fn parse(bytes: &[u8]) -> Part {
    let mut part = Part::default();
    let mut derivation: Option<&str> = None;
    let mut at = 0;
    while let Some(length) = bytes[at..].iter().position(|byte| *byte == 0) {
        let path = &bytes[at..at + length];
        let begins = at;
        at += length + 1;
        let path = std::str::from_utf8(path).ok();
        if let Some(path) = path.filter(|path| path.as_bytes().ends_with(DERIVATION)) {
            derivation = Some(path);
            part.settled = begins;
            continue;
        }
        if derivation.is_none() {
            part.settled = at;
        }
        if let (Some(derivation), Some(output)) = (derivation, path) {
            let outputs = part.intended.entry(derivation.to_owned()).or_default();
            outputs.insert(output.to_owned());
        }
    }
    part
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Intended, parse};

    fn file(paths: &[&str]) -> Vec<u8> {
        let bytes = paths
            .iter()
            .flat_map(|path| path.bytes().chain(std::iter::once(0)));
        bytes.collect()
    }

    fn words(intended: &Intended) -> Vec<String> {
        let words = intended.iter();
        words
            .map(|(drv, outputs)| {
                let outputs: Vec<_> = outputs.iter().map(String::as_str).collect();
                format!("{drv}: {}", outputs.join(" "))
            })
            .collect()
    }

    #[test]
    fn what_is_realised_is_told_from_what_is_known() {
        let bytes = file(&[
            "/s/l0.drv",
            "/s/other.drv",
            "/s/l1.drv",
            "/s/l1.drv",
            "/s/l1",
            "/s/l1-doc",
            "/s/l0.drv",
            "/s/l0",
            "/s/l0.drv",
        ]);
        let part = parse(&bytes);
        assert_eq!(
            words(&part.intended),
            ["/s/l0.drv: /s/l0", "/s/l1.drv: /s/l1 /s/l1-doc"]
        );
        assert_eq!(bytes[part.settled..], file(&["/s/l0.drv"]));
    }

    #[test]
    fn half_a_path_and_nonsense_are_no_harm() {
        assert_eq!(parse(b"/s/a.drv\0/s/a").intended, Intended::new());
        assert_eq!(parse(b"/s/src\0").settled, 7);
        assert_eq!(parse(b"\0\0\xff.drv\0/s/a\0").intended, Intended::new());
        assert_eq!(parse(b"").settled, 0);
    }

    proptest! {
        /// Whatever is there, and however it grows, no more and no less is found
        /// than in the whole.
        #[test]
        fn a_file_that_grows_is_read_as_if_at_once(
            paths in prop::collection::vec("[abc]{0,2}(\\.drv)?|\u{e9}", 0..20),
            more in prop::collection::vec(any::<u8>(), 0..6),
            steps in prop::collection::vec(1usize..9, 0..30),
        ) {
            let mut bytes = file(&paths.iter().map(String::as_str).collect::<Vec<_>>());
            bytes.extend(more);
            let mut found = Intended::new();
            let (mut from, mut upto) = (0, 0);
            for step in steps.into_iter().chain([bytes.len()]) {
                upto = (upto + step).min(bytes.len());
                let part = parse(&bytes[from..upto]);
                prop_assert!(part.settled <= upto - from);
                from += part.settled;
                for (drv, outputs) in part.intended {
                    found.entry(drv).or_default().extend(outputs);
                }
            }
            prop_assert_eq!(found, parse(&bytes).intended);
        }
    }
}
