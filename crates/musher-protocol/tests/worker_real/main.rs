//! Our client against a real `nix-daemon --stdio`, where one is installed, in
//! every version that it speaks; and a real client against our server.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod client;
mod daemon;
mod server;

#[path = "../common/nars.rs"]
mod nars;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use musher_protocol::types::{NarHash, PathInfo};
use nix_derivation::{HashAlgorithm, NixHash, StorePath, hash_bytes};

/// A place of its own for each test.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let unique = format!("{name}-{}", std::process::id());
    let root = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(unique);
    fs::create_dir_all(&root).unwrap();
    root
}

#[expect(clippy::print_stderr, reason = "a skipped check has to be seen")]
pub(crate) fn skipped() {
    eprintln!("skipped: there is no Nix here");
}

pub(crate) fn path(base_name: &str) -> StorePath {
    StorePath::from_basename(base_name.as_bytes()).unwrap()
}

pub(crate) fn info(base_name: &str, references: BTreeSet<StorePath>, nar: &[u8]) -> PathInfo {
    let NixHash::Sha256(digest) = hash_bytes(HashAlgorithm::Sha256, nar) else {
        panic!("SHA-256 is SHA-256");
    };
    PathInfo {
        path: path(base_name),
        deriver: None,
        nar_hash: NarHash(digest),
        nar_size: nar.len() as u64,
        references,
        registration_time: 1_700_000_000,
        ultimate: false,
        signatures: BTreeSet::new(),
        ca: None,
    }
}

pub(crate) const GREETING: &str = "g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-greeting";
pub(crate) const TOOL: &str = "h1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-tool";
pub(crate) const ABSENT: &str = "i1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-absent";
