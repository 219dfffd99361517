//! The serve protocol, 2.5 to 2.8: what `ssh://` stores speak with
//! `nix-store --serve --write`. Both ends, as state machines without I/O.
//!
//! ```text
//! session    = client hello, server hello, exchange*
//! client     = u64 0x390c9deb, u64 version      server = u64 0x5452eecb, u64 version
//! exchange   = u64 command, arguments → reply   (the lower version counts)
//!
//!  1 QueryValidPaths  lock, substitute, paths        → paths
//!  2 QueryPathInfos   paths                          → (path, unkeyed info)*, ""
//!  3 DumpStorePath    path                           → NAR
//!  4 ImportPaths      (1, NAR, trailer)*, 0          → u64 1
//!  6 BuildPaths       strings, options               → u64 0 | u64 status, message
//!  7 QueryClosure     include outputs, paths         → paths
//!  8 BuildDerivation  path, derivation, options      → build result
//!  9 AddToStoreNar    info, NAR of exactly its size  → u64 1
//!
//! trailer    = u64 0x4558494e, path, references, deriver, (0 | 1, string)
//! ```
//!
//! There is no message for an error or a log line: both are the standard error
//! output of the server's process, and after an error it closes the
//! connection. Command 5, ExportPaths, is gone from Nix and refused here.

pub mod build_result;
mod client;
mod error;
mod export;
mod handshake;
mod options;
mod outgoing;
pub mod path_info;
mod request;
mod response;
mod server;
mod version;

pub use client::{ClientEvent, ClientSession};
pub use error::{CommandError, SessionError};
pub use export::{BodyItem, Exported};
pub use options::BuildOptions;
pub use request::{Command, Request};
pub use response::{BuildFailure, Response};
pub use server::{ServerEvent, ServerSession};
pub use version::{Negotiated, Version};

use nix_derivation::StoreDir;

use crate::wire::Limits;

/// What a session of either end needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// The store directory of every path on the wire.
    pub store_dir: StoreDir,
    /// How much the peer may make us hold.
    pub limits: Limits,
    /// The newest version to offer; no more than [`Version::MAX`] is.
    pub max_version: Version,
}

impl Config {
    /// The newest version and the default limits.
    pub fn new(store_dir: StoreDir) -> Self {
        Self {
            store_dir,
            limits: Limits::default(),
            max_version: Version::MAX,
        }
    }

    /// The version to offer.
    fn offer(&self) -> Version {
        self.max_version.clamp(Version::MIN, Version::MAX)
    }
}
