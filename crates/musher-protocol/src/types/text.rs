//! Text of a peer's that is shown or passed on: nearly always UTF-8, promised
//! by nobody.

use std::fmt;

use bytes::Bytes;

/// Bytes meant to be read by people. Passed on unchanged, shown lossily.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Text(Bytes);

impl Text {
    /// The bytes as they came.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as they came.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Bytes> for Text {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl From<String> for Text {
    fn from(string: String) -> Self {
        Self(Bytes::from(string))
    }
}

impl From<&str> for Text {
    fn from(string: &str) -> Self {
        Self(Bytes::copy_from_slice(string.as_bytes()))
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(&self.0), f)
    }
}
