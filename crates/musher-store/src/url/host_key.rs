//! A host's public key as machine lists and URLs carry it: base64 around one or
//! more lines of `type key [comment]`, which is a known_hosts line without its
//! host. Knows nothing of ssh's files.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// One or more public keys that a host may prove itself by.
#[derive(Clone, PartialEq, Eq)]
pub struct HostKey {
    encoded: String,
    lines: Vec<String>,
}

/// Text that is not a host key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostKeyError {
    /// The outer encoding is broken.
    #[error("it is not base64")]
    Base64,
    /// Something else was encoded.
    #[error("decoded it is not `TYPE KEY`, but `{found}`")]
    NotAKey {
        /// The beginning of what was found, made printable.
        found: String,
    },
}

impl HostKeyError {
    /// Advice the user can act on.
    pub fn help(&self) -> String {
        "the value is printed on the host by `base64 -w0 /etc/ssh/ssh_host_ed25519_key.pub`".into()
    }
}

impl HostKey {
    /// Reads the base64 form.
    pub fn from_base64(encoded: &str) -> Result<Self, HostKeyError> {
        let encoded = encoded.trim();
        let bytes = STANDARD.decode(encoded).map_err(|_| HostKeyError::Base64)?;
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<String> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect();
        match lines.iter().find(|line| !looks_like_a_key(line)) {
            None if !lines.is_empty() => Ok(Self {
                encoded: encoded.to_owned(),
                lines,
            }),
            wrong => Err(HostKeyError::NotAKey {
                found: wrong
                    .map_or("", |line| line)
                    .escape_default()
                    .take(40)
                    .collect(),
            }),
        }
    }

    /// Takes keys as they are: lines of `TYPE KEY [COMMENT]`.
    pub fn from_lines(text: &str) -> Result<Self, HostKeyError> {
        Self::from_base64(&STANDARD.encode(text))
    }

    /// The keys, lines of `TYPE KEY [COMMENT]`.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// The base64 form, as it was read.
    pub fn as_base64(&self) -> &str {
        &self.encoded
    }

    /// The text of a known_hosts file that holds these keys for `name`.
    pub fn known_hosts(&self, name: &str) -> String {
        let lines = self.lines.iter();
        lines.map(|line| format!("{name} {line}\n")).collect()
    }
}

impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HostKey").field(&self.lines).finish()
    }
}

/// Whether a line is a key type followed by base64, and no known_hosts marker.
fn looks_like_a_key(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let (Some(kind), Some(key)) = (words.next(), words.next()) else {
        return false;
    };
    kind.starts_with(|first: char| first.is_ascii_alphabetic())
        && !line.contains(|c: char| c.is_control() && c != '\t')
        && STANDARD.decode(key).is_ok()
}
