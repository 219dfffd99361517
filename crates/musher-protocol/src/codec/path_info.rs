//! The parts of a path's metadata: its NAR hash and its content address, each
//! a string with several spellings.

use nix_derivation::{CAHash, NixHash};

use crate::types::NarHash;
use crate::wire::{DecodeError, Decoder, Encoder};

/// Reads a NAR hash in base 16, base 32 or base 64, with or without `sha256:`.
pub(crate) async fn nar_hash(from: &mut Decoder) -> Result<NarHash, DecodeError> {
    const FIELD: &str = "NAR hash";
    let offset = from.offset();
    let text = from.short(FIELD).await?;
    let tagged = if text.contains([':', '-']) {
        text.clone()
    } else {
        format!("sha256:{text}")
    };
    match NixHash::parse(&tagged) {
        Ok(NixHash::Sha256(digest)) => Ok(NarHash(digest)),
        Ok(_) | Err(_) => Err(from.error(FIELD, offset, "a SHA-256 hash", format!("`{text}`"))),
    }
}

/// Writes a NAR hash in base 16 without its algorithm, as the worker protocol
/// has it.
pub(crate) fn encode_nar_hash_base16(hash: &NarHash, to: &mut Encoder) {
    let tagged = NixHash::Sha256(hash.0).to_nix_base16_string();
    to.string(tagged.strip_prefix("sha256:").unwrap_or(&tagged));
}

/// Reads a content address.
pub(crate) async fn content_address(
    from: &mut Decoder,
    field: &'static str,
) -> Result<CAHash, DecodeError> {
    let offset = from.offset();
    let text = from.short(field).await?;
    parse_content_address(from, field, offset, &text)
}

/// Reads a content address, or the empty string for none.
pub(crate) async fn optional_content_address(
    from: &mut Decoder,
    field: &'static str,
) -> Result<Option<CAHash>, DecodeError> {
    let offset = from.offset();
    let text = from.short(field).await?;
    if text.is_empty() {
        return Ok(None);
    }
    parse_content_address(from, field, offset, &text).map(Some)
}

/// Writes a content address.
pub(crate) fn encode_content_address(ca: &CAHash, to: &mut Encoder) {
    to.string(&ca.to_nix_string());
}

/// Writes a content address, or the empty string for none.
pub(crate) fn encode_optional_content_address(ca: Option<&CAHash>, to: &mut Encoder) {
    match ca {
        Some(ca) => encode_content_address(ca, to),
        None => to.string(""),
    }
}

fn parse_content_address(
    from: &Decoder,
    field: &'static str,
    offset: u64,
    text: &str,
) -> Result<CAHash, DecodeError> {
    CAHash::parse(text).map_err(|error| {
        let found = format!("`{text}` ({error})");
        from.error(field, offset, "a content address", found)
    })
}
