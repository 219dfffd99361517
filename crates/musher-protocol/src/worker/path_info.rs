//! A path's metadata.
//!
//! ```text
//! unkeyed = deriver, NAR hash in base 16, references, registration time,
//!           NAR size, ultimate, signatures, content address
//! keyed   = path, unkeyed
//! ```
//!
//! This is the form of 1.16, which is older than all that is spoken here and
//! the same since.

use nix_derivation::StorePath;

use crate::types::PathInfo;
use crate::wire::{DecodeError, Decoder, Encoder};

/// Writes the path and what is known of it.
pub fn encode(info: &PathInfo, to: &mut Encoder) {
    to.path(&info.path);
    encode_unkeyed(info, to);
}

/// Writes what is known of the path.
pub fn encode_unkeyed(info: &PathInfo, to: &mut Encoder) {
    to.optional_path(info.deriver.as_ref());
    to.nar_hash_base16(&info.nar_hash);
    to.paths(&info.references);
    to.u64(info.registration_time);
    to.u64(info.nar_size);
    to.bool(info.ultimate);
    to.strings(&info.signatures);
    to.optional_content_address(info.ca.as_ref());
}

/// Reads a path and what is known of it.
pub async fn decode(from: &mut Decoder) -> Result<PathInfo, DecodeError> {
    let path = from.path("path").await?;
    decode_unkeyed(path, from).await
}

/// Reads what is known of `path`.
pub async fn decode_unkeyed(path: StorePath, from: &mut Decoder) -> Result<PathInfo, DecodeError> {
    Ok(PathInfo {
        path,
        deriver: from.optional_path("deriver").await?,
        nar_hash: from.nar_hash("NAR hash").await?,
        references: from.paths("references").await?,
        registration_time: from.u64("registration time").await?,
        nar_size: from.u64("NAR size").await?,
        ultimate: from.bool("ultimate").await?,
        signatures: from.strings("signatures").await?,
        ca: from.optional_content_address("content address").await?,
    })
}
