//! A host's public ssh key as Nix's machine files carry it: the `known_hosts`
//! line without the host, in base64.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Nix stops at the first `=`, so padding is optional.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A host key that ssh can be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKey {
    encoded: String,
    line: String,
}

/// Why a host key is none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum HostKeyError {
    /// The text is not base64.
    #[error("it is not base64")]
    NotBase64(#[source] base64::DecodeError),
    /// What it decodes to is not one line of text.
    #[error("it does not decode to one line of text")]
    NotALine,
    /// The line is not a key.
    #[error("it decodes to `{line}`, not to a key type and a key")]
    NotAKey {
        /// The decoded text.
        line: String,
    },
}

impl HostKey {
    /// Reads the encoded form, in which newlines count for nothing.
    pub fn parse(text: &str) -> Result<Self, HostKeyError> {
        let encoded: String = text.chars().filter(|c| *c != '\n').collect();
        let bytes = LENIENT.decode(&encoded).map_err(HostKeyError::NotBase64)?;
        let decoded = String::from_utf8(bytes).map_err(|_| HostKeyError::NotALine)?;
        let line = decoded.trim();
        // A control character would end the line in `known_hosts`, where
        // what follows would count as a key for any host it names.
        if line.chars().any(char::is_control) {
            return Err(HostKeyError::NotALine);
        }
        if line.split_whitespace().count() < 2 {
            return Err(HostKeyError::NotAKey {
                line: line.to_owned(),
            });
        }
        Ok(Self {
            line: line.to_owned(),
            encoded,
        })
    }

    /// The base64 text, as it stands in store URLs and machine files.
    pub fn encoded(&self) -> &str {
        &self.encoded
    }

    /// The `known_hosts` line without the host: key type, key, perhaps a
    /// comment.
    pub fn line(&self) -> &str {
        &self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_decoded() {
        let key = HostKey::parse("c3NoLWVkMjU1MTkgQUFBQQo=").expect("a key");
        assert_eq!(key.line(), "ssh-ed25519 AAAA");
        let unpadded = HostKey::parse("c3NoLWVkMjU1MTkgQUFBQQo").expect("a key");
        assert_eq!(unpadded.line(), key.line());
    }

    #[test]
    fn what_ssh_cannot_use_is_refused() {
        assert!(matches!(
            HostKey::parse("?"),
            Err(HostKeyError::NotBase64(_))
        ));
        assert_eq!(
            HostKey::parse("c3NoLWVkMjU1MTk=").map_err(|e| e.to_string()),
            Err("it decodes to `ssh-ed25519`, not to a key type and a key".to_owned())
        );
        // "a b\nc d"
        assert_eq!(HostKey::parse("YSBiCmMgZA=="), Err(HostKeyError::NotALine));
    }
}
