//! Stores to try things on, and paths to put into them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use musher_protocol::types::{NarHash, PathInfo};
use musher_store::local::{Garbage, GcOptions, ImportChecks, LocalOptions, LocalStore};
use nix_archive::nar::Encoder;
use nix_derivation::{CAHash, NixHash, StoreDir, StorePath};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// A store of its own, gone when this is dropped.
pub(crate) struct Scratch {
    dir: TempDir,
    pub(crate) store: LocalStore,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        let dir = scratch_dir();
        let store = LocalStore::open(LocalOptions::below(dir.path())).expect("a store");
        Self { dir, store }
    }

    pub(crate) fn root(&self) -> &Path {
        self.dir.path()
    }

    /// The same store, opened once more.
    pub(crate) fn reopened(&self) -> LocalStore {
        LocalStore::open(LocalOptions::below(self.root())).expect("a store")
    }

    /// Closes the store, and leaves where it is.
    pub(crate) fn close(self) -> TempDir {
        self.dir
    }

    /// Deletes a path that nothing needs.
    pub(crate) fn collect(&self, sample: &Sample) {
        let these = Garbage::These(BTreeSet::from([sample.info.path.clone()]));
        let collected = self
            .store
            .collect_garbage(&GcOptions::new(these), &mut |_| {});
        collected.expect("a report");
    }

    /// Deletes all that nothing needs.
    pub(crate) fn collect_all(&self) {
        let collected = self
            .store
            .collect_garbage(&GcOptions::new(Garbage::All), &mut |_| {});
        collected.expect("a report");
    }

    pub(crate) fn import(&self, sample: &Sample) {
        self.store
            .import(&sample.info, &mut &sample.nar[..], ImportChecks::default())
            .expect("an import");
    }
}

/// A directory to which only its owner can write, nor to those above it: Nix
/// refuses stores below others.
pub(crate) fn scratch_dir() -> TempDir {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let above = home.unwrap_or_else(std::env::temp_dir).join(".cache");
    std::fs::create_dir_all(&above).expect("a cache directory");
    let dir = tempfile::Builder::new()
        .prefix("musher-store-")
        .tempdir_in(above);
    dir.expect("a directory")
}

/// A path that is in no store yet.
#[derive(Clone)]
pub(crate) struct Sample {
    pub(crate) info: PathInfo,
    pub(crate) nar: Vec<u8>,
}

impl Sample {
    /// A path of this NAR, named by its contents.
    pub(crate) fn new(name: &str, references: &[&StorePath], nar: Vec<u8>) -> Self {
        let digest: [u8; 32] = Sha256::digest(&nar).into();
        let ca = CAHash::Nar(NixHash::Sha256(digest));
        let path = StoreDir::default().build_ca_path(name, &ca, references.iter().copied(), false);
        let info = PathInfo {
            path: path.expect("a path"),
            deriver: None,
            nar_hash: NarHash(digest),
            nar_size: nar.len() as u64,
            references: references.iter().map(|path| (*path).clone()).collect(),
            registration_time: 0,
            ultimate: false,
            signatures: BTreeSet::new(),
            ca: Some(ca),
        };
        Self { info, nar }
    }

    /// One file with this text, and what the text may mention.
    pub(crate) fn file(name: &str, text: &str, references: &[&StorePath]) -> Self {
        let mut encoder = Encoder::new(Vec::new()).expect("an encoder");
        encoder
            .regular(None, false, text.as_bytes())
            .expect("a file");
        Self::new(name, references, encoder.finish().expect("a NAR"))
    }

    /// A directory of every kind of entry that there is.
    pub(crate) fn tree(name: &str, files: u32) -> Self {
        let mut encoder = Encoder::new(Vec::new()).expect("an encoder");
        let mut fill = || {
            encoder.start_directory(None)?;
            encoder.start_directory(Some(b"bin"))?;
            encoder.regular(Some(b"run"), true, b"#!/bin/sh\n")?;
            encoder.symlink(Some(b"walk"), b"run")?;
            encoder.end_directory()?;
            encoder.start_directory(Some(b"empty"))?;
            encoder.end_directory()?;
            encoder.start_directory(Some(b"files"))?;
            for number in 0..files {
                let file = format!("{number:08}");
                encoder.regular(
                    Some(file.as_bytes()),
                    false,
                    format!("{name} {number}").as_bytes(),
                )?;
            }
            encoder.end_directory()?;
            encoder.end_directory()
        };
        fill().expect("a tree");
        Self::new(name, &[], encoder.finish().expect("a NAR"))
    }
}
