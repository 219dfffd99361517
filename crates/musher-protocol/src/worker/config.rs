//! What a session has to know before it begins.

use std::collections::BTreeSet;

use nix_derivation::StoreDir;

use super::version::{Feature, Trust, Version};
use crate::types::Text;
use crate::wire::Limits;

/// What the client's end has to know.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// The store directory of every path on the wire.
    pub store_dir: StoreDir,
    /// The newest version to offer.
    pub max_version: Version,
    /// The features to offer. [`Feature::DisableSetOptions`] never is.
    pub features: BTreeSet<Feature>,
    /// How much the server may make us hold.
    pub limits: Limits,
}

impl ClientConfig {
    /// The newest version, the default features and limits.
    pub fn new(store_dir: StoreDir) -> Self {
        Self {
            store_dir,
            max_version: Version::MAX,
            features: Feature::default_offer(),
            limits: Limits::default(),
        }
    }
}

/// What the server's end has to know.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The store directory of every path on the wire.
    pub store_dir: StoreDir,
    /// The newest version to offer.
    pub max_version: Version,
    /// The features to offer. [`Feature::DisableSetOptions`] never is.
    pub features: BTreeSet<Feature>,
    /// The Nix version to claim.
    pub nix_version: Text,
    /// What to say of the trust in the client; nothing where not known.
    pub trust: Option<Trust>,
    /// How much the client may make us hold.
    pub limits: Limits,
}

impl ServerConfig {
    /// The newest version, the default features and limits, no word on trust.
    pub fn new(store_dir: StoreDir, nix_version: impl Into<Text>) -> Self {
        Self {
            store_dir,
            max_version: Version::MAX,
            features: Feature::default_offer(),
            nix_version: nix_version.into(),
            trust: None,
            limits: Limits::default(),
        }
    }
}
