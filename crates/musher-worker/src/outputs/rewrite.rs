//! Replaces hash parts of store paths in bytes, however the bytes are cut. A
//! hash part has as many digits as any other, so nothing changes its length.

use std::collections::BTreeMap;
use std::io::{self, Write};

use nix_archive::nar::REFERENCE_LENGTH;
use nix_derivation::{StorePath, nixbase32};

/// The digits of a store path's hash.
pub(crate) type HashPart = [u8; REFERENCE_LENGTH];

/// The digits with which `path`'s name begins.
pub(crate) fn hash_part(path: &StorePath) -> HashPart {
    let digits = nixbase32::encode(path.digest());
    let digits = HashPart::try_from(digits.as_bytes());
    digits.expect("bug: a store path's digest has 20 bytes, and so 32 digits")
}

/// Which hash parts become which.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rewrites(BTreeMap<HashPart, HashPart>);

impl Rewrites {
    /// Has `to` stand where `from` stood. No rule if they are the same.
    pub(crate) fn add(&mut self, from: &StorePath, to: &StorePath) {
        if from.digest() != to.digest() {
            self.0.insert(hash_part(from), hash_part(to));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is a rule for `path`.
    pub(crate) fn concern(&self, path: &StorePath) -> bool {
        self.0.contains_key(&hash_part(path))
    }

    /// What becomes of `path` itself, whose name stays.
    pub(crate) fn path(&self, path: &StorePath) -> StorePath {
        let Some(to) = self.0.get(&hash_part(path)) else {
            return path.clone();
        };
        let digest = nixbase32::decode(to).ok();
        digest
            .and_then(|digest| digest.try_into().ok())
            .and_then(|digest| StorePath::from_parts(digest, path.name()).ok())
            .expect("bug: a hash part that is rewritten to is a hash part")
    }

    /// Rewrites all of `bytes`.
    pub(crate) fn whole(&self, bytes: &mut [u8]) {
        self.apply(bytes);
    }

    /// Rewrites `bytes`, and answers from where on they may hold the beginning
    /// of something to rewrite.
    fn apply(&self, bytes: &mut [u8]) -> usize {
        let mut offset = 0;
        while let Some(window) = bytes.get_mut(offset..offset + REFERENCE_LENGTH) {
            // From the end: one byte that is no digit rules out all windows
            // that it is in.
            if let Some(last) = window.iter().rposition(|byte| !is_digit(*byte)) {
                offset += last + 1;
            } else if let Some(to) = self.0.get(&*window) {
                window.copy_from_slice(to);
                offset += REFERENCE_LENGTH;
            } else {
                offset += 1;
            }
        }
        offset.min(bytes.len())
    }
}

/// Whether `byte` is a digit of Nix's base 32.
const fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'd' | b'f'..=b'n' | b'p'..=b's' | b'v'..=b'z')
}

/// A writer that passes on what is written to it, rewritten. It holds back up
/// to 31 bytes until [`finish`](Self::finish).
pub(crate) struct Rewriter<'a, W> {
    rewrites: &'a Rewrites,
    inner: W,
    held: Vec<u8>,
}

impl<'a, W: Write> Rewriter<'a, W> {
    pub(crate) fn new(rewrites: &'a Rewrites, inner: W) -> Self {
        Self {
            rewrites,
            inner,
            held: Vec::new(),
        }
    }

    /// Passes on what was held back, and gives the writer back.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.inner.write_all(&self.held)?;
        Ok(self.inner)
    }
}

impl<W: Write> Write for Rewriter<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.held.extend_from_slice(bytes);
        let settled = self.rewrites.apply(&mut self.held);
        self.inner.write_all(&self.held[..settled])?;
        self.held.drain(..settled);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::{Strategy, any, prop_assert_eq, prop_oneof, proptest};

    const FROM: &[u8; 32] = b"dc04vv14dak1c1r48qa0m23vr9jy8sm0";
    const TO: &[u8; 32] = b"zc842j0rz61mjsp3h3wp5ly71ak6qgdn";

    fn rules() -> Rewrites {
        Rewrites(BTreeMap::from([(*FROM, *TO)]))
    }

    fn rewritten(rules: &Rewrites, pieces: &[&[u8]]) -> Vec<u8> {
        let mut rewriter = Rewriter::new(rules, Vec::new());
        for piece in pieces {
            rewriter.write_all(piece).unwrap();
        }
        rewriter.finish().unwrap()
    }

    /// Pieces of text among which the hash part is frequent, also cut short,
    /// doubled and with digits around it.
    fn text() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            3 => any::<usize>().prop_map(|_| FROM.to_vec()),
            1 => (0..32usize).prop_map(|end| FROM[..end].to_vec()),
            1 => (0..32usize).prop_map(|start| FROM[start..].to_vec()),
            2 => vec(any::<u8>(), 0..40),
            1 => vec(b'a'..b'd', 0..40),
        ];
        vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    /// What a reader would do by hand: the leftmost match, then on behind it.
    fn by_hand(bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        let mut offset = 0;
        while offset + 32 <= bytes.len() {
            if bytes[offset..offset + 32] == FROM[..] {
                bytes[offset..offset + 32].copy_from_slice(TO);
                offset += 32;
            } else {
                offset += 1;
            }
        }
        bytes
    }

    proptest! {
        #[test]
        fn the_same_however_the_bytes_are_cut(text in text(), cuts in vec(any::<u16>(), 0..8)) {
            let mut cuts: Vec<usize> =
                cuts.iter().map(|cut| usize::from(*cut) % (text.len() + 1)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> =
                cuts.windows(2).map(|ends| &text[ends[0]..ends[1]]).collect();
            prop_assert_eq!(rewritten(&rules(), &pieces), by_hand(&text));
        }

        #[test]
        fn no_rules_change_nothing(text in text()) {
            prop_assert_eq!(rewritten(&Rewrites::default(), &[&text]), text);
        }
    }

    #[test]
    fn a_hash_part_is_found_across_every_border() {
        let text = [b"x".as_slice(), FROM, b"-name"].concat();
        let expected = [b"x".as_slice(), TO, b"-name"].concat();
        for cut in 0..=text.len() {
            let (head, tail) = text.split_at(cut);
            let bytes = rewritten(&rules(), &[head, tail]);
            assert_eq!(bytes, expected, "cut at {cut}");
        }
        let single: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(rewritten(&rules(), &single), expected);
    }

    #[test]
    fn what_was_written_is_not_rewritten_again() {
        let swap = Rewrites(BTreeMap::from([(*FROM, *TO), (*TO, *FROM)]));
        let text = [FROM.as_slice(), TO].concat();
        let expected = [TO.as_slice(), FROM].concat();
        assert_eq!(rewritten(&swap, &[&text]), expected);
    }

    #[test]
    fn a_path_keeps_its_name() {
        let from = StorePath::from_basename(b"dc04vv14dak1c1r48qa0m23vr9jy8sm0-hello").unwrap();
        let to = StorePath::from_basename(b"zc842j0rz61mjsp3h3wp5ly71ak6qgdn-other").unwrap();
        let mut rewrites = Rewrites::default();
        rewrites.add(&from, &to);
        assert_eq!(
            rewrites.path(&from).to_basename(),
            "zc842j0rz61mjsp3h3wp5ly71ak6qgdn-hello"
        );
        assert_eq!(rewrites.path(&to), to);
    }
}
