//! The digest of a NAR, as a string.

use nix_derivation::NixHash;

use crate::types::NarHash;
use crate::wire::{DecodeError, Decoder, Encoder};

impl Decoder {
    /// A NAR's SHA-256 digest, in base 16, base 32 or base 64, with or without
    /// its algorithm.
    pub async fn nar_hash(&mut self, field: &'static str) -> Result<NarHash, DecodeError> {
        let offset = self.offset();
        let string = self.short(field).await?;
        let parsed = if string.contains([':', '-']) {
            NixHash::parse(&string)
        } else {
            NixHash::parse(&format!("sha256:{string}"))
        };
        match parsed {
            Ok(NixHash::Sha256(digest)) => Ok(NarHash(digest)),
            Ok(_) | Err(_) => {
                Err(self.error(field, offset, "a SHA-256 digest", format!("`{string}`")))
            }
        }
    }
}

impl Encoder {
    /// A NAR's digest in base 16, without its algorithm.
    pub fn nar_hash_base16(&mut self, hash: &NarHash) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
        let hex = hash.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        self.string(&hex.map(digit).collect::<String>());
    }
}
