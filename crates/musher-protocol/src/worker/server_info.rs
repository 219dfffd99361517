//! What a server says of itself in the handshake.
//!
//! ```text
//! info = Nix version: string      from 1.33
//!        trust: 0 | 1 | 2         from 1.35; not known, trusted, not trusted
//! ```

use super::version::{Dialect, Trust};
use crate::types::Text;
use crate::wire::{DecodeError, Decoder, Encoder};

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerInfo {
    /// Its Nix version.
    pub nix_version: Option<Text>,
    /// Whether it trusts the client, where it knows.
    pub trust: Option<Trust>,
}

impl ServerInfo {
    /// Writes what the dialect has of it.
    pub fn encode(&self, dialect: &Dialect, to: &mut Encoder) {
        if dialect.has(33) {
            let version = self.nix_version.as_ref();
            to.bytes(version.map_or(b"", Text::as_bytes));
        }
        if dialect.has(35) {
            to.u64(match self.trust {
                None => 0,
                Some(Trust::Trusted) => 1,
                Some(Trust::NotTrusted) => 2,
            });
        }
    }

    /// Reads what the dialect has of it.
    pub async fn decode(dialect: &Dialect, from: &mut Decoder) -> Result<Self, DecodeError> {
        let mut info = Self::default();
        if dialect.has(33) {
            let version = from.short_bytes("Nix version").await?;
            info.nix_version = Some(Text::from(version));
        }
        if dialect.has(35) {
            info.trust = trust(from).await?;
        }
        Ok(info)
    }
}

async fn trust(from: &mut Decoder) -> Result<Option<Trust>, DecodeError> {
    const FIELD: &str = "trust";
    let offset = from.offset();
    match from.u64(FIELD).await? {
        0 => Ok(None),
        1 => Ok(Some(Trust::Trusted)),
        2 => Ok(Some(Trust::NotTrusted)),
        other => Err(from.error(FIELD, offset, "a number from 0 to 2", other.to_string())),
    }
}
