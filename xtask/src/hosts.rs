//! Test hosts made of real parts: a Debian with its own Nix store, nix-daemon
//! and sshd, on this machine. Knows nothing of Musher.
//!
//! A host is a chroot of a Debian suite (`base`) under an overlay of its own, in
//! namespaces of its own (`init`), with sshd on a loopback port or on a network
//! of its own (`network`). Everything it started dies with it.

pub(crate) mod base;
pub(crate) mod command;
mod disk;
pub(crate) mod host;
pub(crate) mod init;
pub(crate) mod network;
pub(crate) mod processes;
pub(crate) mod room;
pub(crate) mod ssh;
pub(crate) mod suite;
pub(crate) mod team;
