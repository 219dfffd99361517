//! The Nix worker protocol and the Nix serve protocol, both ends, as pure
//! state machines: bytes and commands in, bytes and events out. Nothing here
//! reads a clock, a file or a socket.
//!
//! [`wire`] has the primitives and the resumable decoder, [`nar`] finds the
//! end of a NAR, [`types`] are the values that both protocols carry, and
//! `codec` their encodings where both agree on one.

mod codec;
pub mod nar;
pub mod serve;
mod session;
pub mod types;
pub mod wire;
pub mod worker;
