//! What can be wrong with bytes from a peer. Knows no message: the field is
//! named by the decoder of the message.

/// Bytes that are not what the protocol has in this place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad `{field}` at offset {offset}: expected {expected}, found {found}")]
pub struct DecodeError {
    /// The field that was being read.
    pub field: &'static str,
    /// Offset in the stream, in bytes, at which the field (or the faulty part
    /// of it) begins.
    pub offset: u64,
    /// What the protocol allows there.
    pub expected: String,
    /// What was there.
    pub found: String,
}

impl DecodeError {
    /// The text of `found` when the stream ended in the middle of a field.
    pub(crate) const END: &'static str = "the end of the stream";

    /// Whether the stream ended where a field was still to come.
    pub fn is_end(&self) -> bool {
        self.found == Self::END
    }
}
