//! The hash of something that mentions its own hash part. Knows no store.

use std::io::{self, Write};

use nix_derivation::{HashAlgorithm, NixHash, NixHasher};

/// The most references of a path to itself: where each is has to be kept until
/// the end.
const MOST_PLACES: usize = 16 << 20;

/// Hashes bytes that may contain a path's own hash part, as if null bytes stood
/// in its place, and where it stood: what a self-referring path's content
/// address is made of.
pub struct ModuloHasher {
    hasher: NixHasher,
    own: Vec<u8>,
    /// Bytes that may be the beginning of the hash part.
    held: Vec<u8>,
    /// Bytes hashed so far.
    offset: u64,
    /// Where the hash part stood.
    found: Vec<u64>,
}

impl ModuloHasher {
    /// Hashes with `algorithm`, modulo `own`.
    pub fn new(algorithm: HashAlgorithm, own: &str) -> Self {
        Self {
            hasher: NixHasher::new(algorithm),
            own: own.as_bytes().to_vec(),
            held: Vec::new(),
            offset: 0,
            found: Vec::new(),
        }
    }

    /// The hash of all that was written. An error if it contains the hash part
    /// too often.
    pub fn finish(mut self) -> io::Result<NixHash> {
        let found = std::mem::take(&mut self.found);
        if found.len() == MOST_PLACES {
            let text = format!("it refers to itself {MOST_PLACES} times or more");
            return Err(io::Error::other(text));
        }
        self.hasher.update(&self.held);
        for offset in found {
            self.hasher.update(format!("|{offset}").as_bytes());
        }
        Ok(self.hasher.finalize())
    }

    /// The hash without where the hash part stood. By mistake that was the
    /// address in Nix 2.17 to 2.34, but neither before nor after.
    pub fn finish_without_places(mut self) -> io::Result<NixHash> {
        self.found.clear();
        self.finish()
    }
}

impl Write for ModuloHasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.own.len();
        let mut window = std::mem::take(&mut self.held);
        window.extend_from_slice(bytes);
        let mut at = 0;
        while at + length <= window.len() {
            if window[at..at + length] == self.own[..] {
                window[at..at + length].fill(0);
                if self.found.len() < MOST_PLACES {
                    self.found.push(self.offset + at as u64);
                }
                at += length;
            } else {
                at += 1;
            }
        }
        let done = at.min(window.len());
        self.hasher.update(&window[..done]);
        self.offset += done as u64;
        self.held = window.split_off(done);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use nix_derivation::{HashAlgorithm, hash_bytes};
    use proptest::prelude::{any, prop, proptest};
    use proptest::{prop_assert_eq, prop_assume};

    use super::ModuloHasher;

    const OWN: &str = "ab0d";

    fn modulo(chunks: &[&[u8]]) -> String {
        let mut hasher = ModuloHasher::new(HashAlgorithm::Sha256, OWN);
        for chunk in chunks {
            hasher.write_all(chunk).expect("hashed");
        }
        hasher.finish().expect("a hash").to_nix_nixbase32_string()
    }

    #[test]
    fn nulls_and_places_are_hashed_in_place_of_the_own_hash() {
        let expected = hash_bytes(HashAlgorithm::Sha256, b"x\0\0\0\0y\0\0\0\0|1|6");
        let expected = expected.to_nix_nixbase32_string();
        assert_eq!(modulo(&[b"xab0dyab0d"]), expected);
        let plain = hash_bytes(HashAlgorithm::Sha256, b"x\0\0\0\0y\0\0\0\0");
        assert_eq!(
            modulo(&[b"x\0\0\0\0y\0\0\0\0"]),
            plain.to_nix_nixbase32_string()
        );
    }

    proptest! {
        /// However the bytes are cut, and wherever the hash lies.
        #[test]
        fn chunks_make_no_difference(
            pieces in prop::collection::vec((any::<bool>(), "[abd0]{0,6}"), 0..20),
            size in 1_usize..9,
        ) {
            let text: String = pieces
                .iter()
                .map(|(own, other)| if *own { OWN } else { other })
                .collect();
            prop_assume!(!text.is_empty());
            let chunks: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            prop_assert_eq!(modulo(&chunks), modulo(&[text.as_bytes()]));
        }
    }
}
