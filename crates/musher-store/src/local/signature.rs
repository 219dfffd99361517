//! Whether somebody who is trusted vouches for a path.

use std::sync::Arc;

use musher_protocol::types::PathInfo;
use nix_derivation::{NixHash, StoreDir};
use nix_narinfo::{NixSignature, TrustedPublicKey};

use super::{LocalError, content};

/// Whether a path must be vouched for.
#[derive(Debug, Clone, Default)]
pub enum Signatures {
    /// Whoever gives us the path is trusted.
    #[default]
    NotNeeded,
    /// One of these keys has signed it, or its name follows from its contents.
    Required(Arc<[TrustedPublicKey]>),
}

pub(super) fn check(
    signatures: &Signatures,
    store_dir: &StoreDir,
    info: &PathInfo,
) -> Result<(), LocalError> {
    let Signatures::Required(keys) = signatures else {
        return Ok(());
    };
    if info.ca.is_some() && content::check_claim(store_dir, info).is_ok() {
        return Ok(());
    }
    let fingerprint = fingerprint(store_dir, info);
    let signed = info
        .signatures
        .iter()
        .filter_map(|signature| NixSignature::parse(signature).ok())
        .any(|signature| {
            let verified = signature.verify(fingerprint.as_bytes(), keys);
            verified.is_ok_and(|valid| valid)
        });
    match signed {
        true => Ok(()),
        false => Err(LocalError::Unsigned {
            path: store_dir.render_path(&info.path),
        }),
    }
}

/// The text that signatures of a path sign.
pub(super) fn fingerprint(store_dir: &StoreDir, info: &PathInfo) -> String {
    let references: Vec<String> = info
        .references
        .iter()
        .map(|reference| store_dir.render_path(reference))
        .collect();
    format!(
        "1;{};{};{};{}",
        store_dir.render_path(&info.path),
        NixHash::Sha256(info.nar_hash.0).to_nix_nixbase32_string(),
        info.nar_size,
        references.join(",")
    )
}
