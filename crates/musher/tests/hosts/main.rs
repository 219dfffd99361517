//! The commands that connect, against a real sshd on loopback and this
//! machine's Nix behind it, with a store of its own.

mod copies;
mod enrol;
mod errors;
mod host;
mod machines;
mod pings;
