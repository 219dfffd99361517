//! The primitives of Nix's wire formats, and a decoder that stops where the
//! bytes run out and goes on when more arrive. Knows no message.
//!
//! ```text
//! u64     = 8 bytes, little endian           (also bool, enum, time)
//! string  = u64 length, bytes, zero bytes up to a multiple of 8
//! list    = u64 count, items                 (also set)
//! map     = u64 count, (key, value)*
//! framed  = (u64 length ≠ 0, bytes)*, u64 0  (no padding)
//! ```

mod decode;
mod encode;
mod error;
mod limits;
mod source;

pub use decode::{Decoder, decode};
pub use encode::Encoder;
pub use error::DecodeError;
pub use limits::Limits;
pub use source::Source;
