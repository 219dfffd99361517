//! What can be wrong with a NAR.

/// Bytes that are no NAR.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad NAR at its offset {offset}: expected {expected}, found {found}")]
pub struct NarError {
    /// Offset in the NAR, in bytes, of the faulty word.
    pub offset: u64,
    /// What the grammar allows there.
    pub expected: String,
    /// What was there.
    pub found: String,
}
