//! The part of a store URL after `?`: names and values, percent-encoded. Knows
//! how values are spelt, not which store takes which.

use std::fmt;
use std::path::{Path, PathBuf};

use super::UrlError;

/// Parameters in the order they were written; a name occurs once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Parses `name=value&name=value`. A name without `=` has the empty value.
    pub(super) fn parse(text: &str) -> Result<Self, UrlError> {
        let mut query = Self::default();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if query.text(&name).is_some() {
                return Err(UrlError::Repeated { name });
            }
            query.0.push((name, value));
        }
        Ok(query)
    }

    /// Refuses every name that is not in `known`.
    pub(super) fn only(
        &self,
        kind: &'static str,
        known: &'static [&'static str],
    ) -> Result<(), UrlError> {
        match self.0.iter().find(|(name, _)| !known.contains(&&**name)) {
            None => Ok(()),
            Some((name, _)) => Err(UrlError::UnknownParameter {
                name: name.clone(),
                kind,
                known,
            }),
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The value as an absolute path; empty means absent, as in Nix.
    pub(super) fn path(&self, name: &'static str) -> Result<Option<PathBuf>, UrlError> {
        match self.text(name).filter(|value| !value.is_empty()) {
            None => Ok(None),
            Some(value) if value.starts_with('/') => Ok(Some(PathBuf::from(value))),
            Some(value) => Err(UrlError::value(name, value, "an absolute path")),
        }
    }

    /// The value split at white space.
    pub(super) fn words(&self, name: &str) -> Vec<String> {
        let words = self.text(name).unwrap_or_default().split_whitespace();
        words.map(str::to_owned).collect()
    }

    /// The value as Nix reads a truth value.
    pub(super) fn flag(&self, name: &'static str) -> Result<bool, UrlError> {
        match self.text(name) {
            None | Some("false" | "no" | "0") => Ok(false),
            Some("true" | "yes" | "1") => Ok(true),
            Some(value) => Err(UrlError::value(name, value, "`true` or `false`")),
        }
    }

    pub(super) fn push(&mut self, name: &str, value: Option<&str>) {
        let value = value.map(|value| (name.to_owned(), value.to_owned()));
        self.0.extend(value);
    }

    pub(super) fn push_path(&mut self, name: &str, value: Option<&Path>) {
        self.push(name, value.map(Path::to_string_lossy).as_deref());
    }

    pub(super) fn push_words(&mut self, name: &str, words: &[String]) {
        self.push(
            name,
            Some(&*words.join(" ")).filter(|text| !text.is_empty()),
        );
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.0.iter().enumerate() {
            let before = if index == 0 { '?' } else { '&' };
            write!(f, "{before}{}={}", encode(name), encode(value))?;
        }
        Ok(())
    }
}

/// Undoes percent-encoding. `+` stands for itself, as base64 needs it to.
pub(super) fn decode(text: &str) -> Result<String, UrlError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = rest
            .split_first_chunk()
            .and_then(|([high, low], tail)| Some((hex(*high)?, hex(*low)?, tail)));
        let Some((high, low, tail)) = digits else {
            return Err(UrlError::Percent { text: text.into() });
        };
        bytes.push(high << 4 | low);
        rest = tail;
    }
    match String::from_utf8(bytes) {
        Ok(decoded) if !decoded.contains('\0') => Ok(decoded),
        Ok(_) | Err(_) => Err(UrlError::Percent { text: text.into() }),
    }
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Percent-encodes what would end or change a parameter; `/`, `:` and `+` stay
/// readable.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => encoded.push(byte.into()),
            b'-' | b'.' | b'_' | b'~' | b'/' | b':' | b'+' | b'@' | b',' | b'=' => {
                encoded.push(byte.into());
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

pub(super) fn encode_path(path: &Path) -> String {
    encode(&path.to_string_lossy())
}
