//! Versions and features of the worker protocol, and what two peers agreed on.

use std::collections::BTreeSet;
use std::fmt;

use super::server_info::ServerInfo;
use crate::types::Text;

/// A version of the worker protocol: `1.minor`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    major: u8,
    minor: u8,
}

impl Version {
    /// The oldest version spoken here: Nix 2.3.
    pub const MIN: Self = Self::minor(21);
    /// The newest version spoken here: Nix 2.24 and later.
    pub const MAX: Self = Self::minor(38);

    /// Version `1.minor`.
    pub const fn minor(minor: u8) -> Self {
        Self { major: 1, minor }
    }

    /// Whether this is `1.minor` or later.
    pub fn has(self, minor: u8) -> bool {
        self >= Self::minor(minor)
    }

    /// The major number: 1, unless a stranger said otherwise.
    pub fn major_number(self) -> u8 {
        self.major
    }

    /// The minor number.
    pub fn minor_number(self) -> u8 {
        self.minor
    }

    /// Reads `major << 8 | minor`. Bits above are ignored, as Nix does.
    pub fn from_wire(word: u64) -> Self {
        let [minor, major, ..] = word.to_le_bytes();
        Self { major, minor }
    }

    /// `major << 8 | minor`.
    pub fn to_wire(self) -> u64 {
        u64::from(self.major) << 8 | u64::from(self.minor)
    }

    /// Every version spoken here, the oldest first.
    pub fn all() -> impl Iterator<Item = Self> {
        (Self::MIN.minor..=Self::MAX.minor).map(Self::minor)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A feature that peers from 1.38 on may offer each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feature {
    /// Realisations are known by derivation path, not by hash modulo.
    RealisationWithPath,
    /// `CollectGarbage` can delete the dead among given paths and their
    /// referrers.
    DeleteDeadSpecificReferrers,
    /// The client must not send `SetOptions`. Never offered here.
    DisableSetOptions,
    /// `AddToStoreScanning`, only meant inside of builds.
    AddToStoreScanning,
    /// `SubmitOutput`, only meant inside of builds.
    SubmitOutput,
}

impl Feature {
    /// Every feature known here.
    pub const ALL: [Self; 5] = [
        Self::RealisationWithPath,
        Self::DeleteDeadSpecificReferrers,
        Self::DisableSetOptions,
        Self::AddToStoreScanning,
        Self::SubmitOutput,
    ];

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::RealisationWithPath => "realisation-with-path-not-hash",
            Self::DeleteDeadSpecificReferrers => "delete-dead-specific-referrers",
            Self::DisableSetOptions => "disable-set-options",
            Self::AddToStoreScanning => "add-to-store-scanning",
            Self::SubmitOutput => "submit-output",
        }
    }

    /// The feature of this name, if it is known here.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|feature| feature.name() == name)
    }

    /// Whether a session offers it when told to.
    pub fn is_offered(self) -> bool {
        match self {
            Self::RealisationWithPath
            | Self::DeleteDeadSpecificReferrers
            | Self::AddToStoreScanning
            | Self::SubmitOutput => true,
            Self::DisableSetOptions => false,
        }
    }

    /// What a session offers unless told otherwise.
    pub fn default_offer() -> BTreeSet<Self> {
        BTreeSet::from([Self::RealisationWithPath])
    }
}

/// What decides how messages are written: version and common features.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialect {
    /// The lower one of the two peers' versions.
    pub version: Version,
    /// The features that both peers offered.
    pub features: BTreeSet<Feature>,
}

impl Dialect {
    /// A version without features.
    pub fn plain(version: Version) -> Self {
        Self {
            version,
            features: BTreeSet::new(),
        }
    }

    /// Whether the version is `1.minor` or later.
    pub fn has(&self, minor: u8) -> bool {
        self.version.has(minor)
    }

    /// Whether both peers offered `feature`.
    pub fn offers(&self, feature: Feature) -> bool {
        self.features.contains(&feature)
    }
}

/// Whether the server lets the client do what only trusted users may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// The client is a trusted user.
    Trusted,
    /// The client is not.
    NotTrusted,
}

/// What the handshake settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiated {
    /// The lower one of the two peers' versions.
    pub version: Version,
    /// The features that both peers offered.
    pub features: BTreeSet<Feature>,
    /// The server's Nix version, from 1.33 on.
    pub nix_version: Option<Text>,
    /// Whether the server trusts the client, from 1.35 on and where it knows.
    pub trust: Option<Trust>,
}

impl Negotiated {
    /// What two peers agreed on and what the server said of itself.
    pub(super) fn new(dialect: Dialect, info: ServerInfo) -> Self {
        Self {
            version: dialect.version,
            features: dialect.features,
            nix_version: info.nix_version,
            trust: info.trust,
        }
    }

    /// What decides how messages are written.
    pub fn dialect(&self) -> Dialect {
        Dialect {
            version: self.version,
            features: self.features.clone(),
        }
    }
}
