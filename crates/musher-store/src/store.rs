//! What every store can do, wherever it is. Knows no protocol.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use musher_protocol::types::PathInfo;
use musher_protocol::worker::Trust;
use nix_derivation::{StoreDir, StorePath};

use crate::StoreError;

/// The bytes of a NAR, in chunks of bounded size.
pub type NarStream = Pin<Box<dyn Stream<Item = Result<Bytes, StoreError>> + Send>>;

/// What a store says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreInfo {
    /// The version of Nix behind it, where it says so.
    pub nix_version: Option<String>,
    /// The protocol and the version both ends agreed on: `worker 1.38`.
    pub protocol: String,
    /// Whether it trusts us; none where its protocol cannot say.
    pub trust: Option<Trust>,
    /// From a question to its answer on an open connection.
    pub round_trip: Duration,
}

/// Whether a store may fetch what it lacks from its own substituters before it
/// answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Substitute {
    /// It may; the answer can take long.
    Allowed,
    /// It answers from what it has.
    No,
}

/// A Nix store.
#[async_trait]
pub trait Store: Send + Sync {
    /// The store directory its paths begin with.
    fn store_dir(&self) -> &StoreDir;

    /// Connects where needed, and measures one question and answer.
    async fn ping(&self) -> Result<StoreInfo, StoreError>;

    /// Those of `paths` that are valid.
    async fn valid_paths(
        &self,
        paths: &BTreeSet<StorePath>,
        substitute: Substitute,
    ) -> Result<BTreeSet<StorePath>, StoreError>;

    /// Those of `paths` that the store could fetch from its substituters. A store
    /// that cannot say so fetches nothing.
    async fn substitutable_paths(
        &self,
        _paths: &BTreeSet<StorePath>,
    ) -> Result<BTreeSet<StorePath>, StoreError> {
        Ok(BTreeSet::new())
    }

    /// The metadata of those of `paths` that are valid, in the order asked.
    async fn path_infos(&self, paths: &[StorePath]) -> Result<Vec<PathInfo>, StoreError>;

    /// Reads the NAR of a valid path.
    async fn read_nar(&self, path: &StorePath) -> Result<NarStream, StoreError>;

    /// Adds `infos`, each after those it refers to, with their NARs from
    /// `source`. Where the store does not trust us it takes only paths that
    /// are content-addressed or signed by a key it knows.
    async fn import(&self, infos: &[PathInfo], source: &dyn Store) -> Result<(), StoreError>;
}
