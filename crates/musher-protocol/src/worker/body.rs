//! The body of an upload, piece by piece.

use bytes::Bytes;

use crate::types::PathInfo;

/// A piece of a request's body.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "pieces are passed on one by one, never kept in numbers"
)]
pub enum BodyItem {
    /// The next path of `AddMultipleToStore`; its NAR follows in chunks.
    Path(PathInfo),
    /// Some content.
    Chunk(Bytes),
    /// The end of the body.
    End,
}
