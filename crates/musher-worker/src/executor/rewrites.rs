//! Replacing placeholders and hashes in what a build program is given. Knows
//! nothing of what they stand for.

use std::collections::BTreeMap;

/// Strings and what each becomes. None contains another, so that the order in
/// which they are replaced does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rewrites(BTreeMap<Vec<u8>, Vec<u8>>);

impl Rewrites {
    /// Has `from` become `to`. An empty or unchanged `from` is left out.
    pub(crate) fn insert(&mut self, from: impl Into<Vec<u8>>, to: impl Into<Vec<u8>>) {
        let (from, to) = (from.into(), to.into());
        if !from.is_empty() && from != to {
            self.0.insert(from, to);
        }
    }

    /// `text` with everything replaced.
    pub(crate) fn apply(&self, text: &[u8]) -> Vec<u8> {
        self.0
            .iter()
            .fold(text.to_vec(), |text, (from, to)| replace(text, from, to))
    }
}

/// Most values hold nothing to replace: they are searched, not copied.
fn replace(text: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    let Some(mut at) = find(&text, from) else {
        return text;
    };
    let mut replaced = Vec::with_capacity(text.len() + to.len());
    let mut rest = text.as_slice();
    loop {
        replaced.extend_from_slice(&rest[..at]);
        replaced.extend_from_slice(to);
        rest = &rest[at + from.len()..];
        match find(rest, from) {
            Some(next) => at = next,
            None => break,
        }
    }
    replaced.extend_from_slice(rest);
    replaced
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    let (first, _) = wanted.split_first()?;
    let mut from = 0;
    while let Some(at) = text.get(from..)?.iter().position(|byte| byte == first) {
        if text[from + at..].starts_with(wanted) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pairs: &[(&str, &str)], text: &str, expected: &str) {
        let mut rewrites = Rewrites::default();
        for (from, to) in pairs {
            rewrites.insert(*from, *to);
        }
        let found = rewrites.apply(text.as_bytes());
        assert_eq!(String::from_utf8_lossy(&found), expected);
    }

    #[test]
    fn every_occurrence_is_replaced() {
        check(&[], "abc", "abc");
        check(&[("b", "xyz")], "abcb", "axyzcxyz");
        check(&[("abc", "")], "ababcab", "abab");
        check(&[("/a", "1"), ("/b", "22")], "/b/a/b", "22122");
        check(&[("", "x"), ("a", "a")], "a", "a");
        check(&[("aa", "b")], "aaa", "ba");
    }
}
