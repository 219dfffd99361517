//! The Debian suites whose Nix we test against.

use clap::ValueEnum;

/// A Debian suite, by the Nix it brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Suite {
    /// Debian 12, Nix 2.8.
    Bookworm,
    /// Debian 13, Nix 2.26.
    Trixie,
    /// Unstable, Nix 2.34 or newer.
    Sid,
}

impl Suite {
    /// Every suite, oldest first.
    pub(crate) const ALL: [Self; 3] = [Self::Bookworm, Self::Trixie, Self::Sid];

    /// Debian's name for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
            Self::Sid => "sid",
        }
    }
}
