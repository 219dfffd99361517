//! Which store on disk is meant, and how it is to be used.

use std::path::PathBuf;

use nix_derivation::StoreDir;

/// Whether a store may be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// It may, and is made if there is none.
    #[default]
    ReadWrite,
    /// It is only read. Nothing is locked, so a collector may take what is
    /// being read.
    ReadOnly,
}

/// What survives a power cut. A kill of the process loses nothing either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// The database stays whole, as with Nix's defaults (`fsync-metadata`): a
    /// path registered just before may be lost, or lack contents.
    #[default]
    Metadata,
    /// In addition a path's files are on disk before it is registered, as with
    /// Nix's `fsync-store-paths`.
    Paths,
}

/// Which store, and how it is used.
#[derive(Debug, Clone, Default)]
pub struct LocalOptions {
    /// Directory below which the store directory and the state physically lie:
    /// a chroot store. None means that paths lie where they say.
    pub root: Option<PathBuf>,
    /// The store directory paths begin with.
    pub store_dir: StoreDir,
    /// Where the state is, on this host; by default `var/nix` beside the store
    /// directory.
    pub state_dir: Option<PathBuf>,
    /// Whether it may be changed.
    pub access: Access,
    /// What survives a power cut.
    pub durability: Durability,
}

impl LocalOptions {
    /// The store below `root`, with Nix's usual store directory.
    pub fn below(root: impl Into<PathBuf>) -> Self {
        Self {
            root: Some(root.into()),
            ..Self::default()
        }
    }

    /// Where the store directory lies on this host.
    pub fn real_store_dir(&self) -> PathBuf {
        let dir = self.store_dir.as_str();
        self.root.as_ref().map_or_else(
            || PathBuf::from(dir),
            |root| root.join(dir.trim_start_matches('/')),
        )
    }
}
