//! Path infos as the serve protocol writes them: one form in answers, another
//! before an added NAR.
//!
//! ```text
//! answer   = path, unkeyed
//! unkeyed  = deriver, references, download size, NAR size,
//!            (sha256:<base 32>, content address, signatures   from 2.4)
//! added    = path, deriver, <base 16>, references, registration time,
//!            NAR size, ultimate, signatures, content address
//! ```

use nix_derivation::StorePath;

use super::Version;
use crate::types::{NarHash, PathInfo};
use crate::wire::{DecodeError, Decoder, Encoder};

/// Reads what an answer says about `path`. Before 2.4 it does not say the
/// NAR's hash, which is then all zeros.
pub async fn decode_unkeyed(
    d: &mut Decoder,
    version: Version,
    path: StorePath,
) -> Result<PathInfo, DecodeError> {
    let deriver = d.optional_path("deriver").await?;
    let references = d.paths("references").await?;
    // Nix writes the NAR's size here too, and never reads it.
    d.u64("download size").await?;
    let mut info = PathInfo {
        path,
        deriver,
        nar_hash: NarHash([0; 32]),
        nar_size: d.u64("NAR size").await?,
        references,
        registration_time: 0,
        ultimate: false,
        signatures: Default::default(),
        ca: None,
    };
    if version.has_nar_hash() {
        info.nar_hash = d.nar_hash("NAR hash").await?;
        info.ca = d.optional_content_address("content address").await?;
        info.signatures = d.strings("signatures").await?;
    }
    Ok(info)
}

/// Writes what an answer says about a path, without the path.
pub fn encode_unkeyed(info: &PathInfo, e: &mut Encoder, version: Version) {
    e.optional_path(info.deriver.as_ref());
    e.paths(&info.references);
    e.u64(info.nar_size);
    e.u64(info.nar_size);
    if version.has_nar_hash() {
        e.string(&info.nar_hash.to_string());
        e.optional_content_address(info.ca.as_ref());
        e.strings(&info.signatures);
    }
}

/// Reads what comes before an added NAR.
pub async fn decode_added(d: &mut Decoder) -> Result<PathInfo, DecodeError> {
    let info = PathInfo {
        path: d.path("path").await?,
        deriver: d.optional_path("deriver").await?,
        nar_hash: d.nar_hash("NAR hash").await?,
        references: d.paths("references").await?,
        registration_time: d.u64("registration time").await?,
        nar_size: d.u64("NAR size").await?,
        ultimate: d.bool("ultimate").await?,
        signatures: d.strings("signatures").await?,
        ca: d.optional_content_address("content address").await?,
    };
    Ok(info)
}

/// Writes what comes before an added NAR.
pub fn encode_added(info: &PathInfo, e: &mut Encoder) {
    e.path(&info.path);
    e.optional_path(info.deriver.as_ref());
    e.nar_hash_base16(&info.nar_hash);
    e.paths(&info.references);
    e.u64(info.registration_time);
    e.u64(info.nar_size);
    e.bool(info.ultimate);
    e.strings(&info.signatures);
    e.optional_content_address(info.ca.as_ref());
}
