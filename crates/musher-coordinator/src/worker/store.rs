//! A worker's store, as any other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use musher_api::limits::PATHS;
use musher_api::worker as api;
use musher_protocol::types::PathInfo;
use musher_protocol::worker::Trust;
use musher_store::{NarStream, Store, StoreError, StoreInfo, Substitute};
use nix_derivation::{StoreDir, StorePath};

use super::session::Session;

#[async_trait]
impl Store for Session {
    fn store_dir(&self) -> &StoreDir {
        Self::store_dir(self)
    }

    async fn ping(&self) -> Result<StoreInfo, StoreError> {
        let asked = Instant::now();
        self.valid_paths(&BTreeSet::new(), Substitute::No).await?;
        Ok(StoreInfo {
            nix_version: None,
            protocol: format!("musher {}", self.hello().version),
            trust: Some(Trust::Trusted),
            round_trip: asked.elapsed(),
        })
    }

    async fn valid_paths(
        &self,
        paths: &BTreeSet<StorePath>,
        _: Substitute,
    ) -> Result<BTreeSet<StorePath>, StoreError> {
        let paths: Vec<_> = paths.iter().collect();
        let mut valid = BTreeSet::new();
        // One question at least: it is also how to find out whether it answers.
        for number in 0..paths.len().div_ceil(PATHS).max(1) {
            let batch = paths.iter().skip(number * PATHS).take(PATHS);
            let request = api::ValidPathsRequest {
                paths: batch
                    .map(|path| self.store_dir().render_path(path))
                    .collect(),
                lease: 0,
            };
            match self.control().valid_paths(request).await {
                Ok(reply) => {
                    for path in reply.into_inner().valid {
                        valid.insert(self.parse(&path)?);
                    }
                }
                Err(status) => return Err(self.failure("say what is valid", &status).await),
            }
        }
        Ok(valid)
    }

    async fn path_infos(&self, paths: &[StorePath]) -> Result<Vec<PathInfo>, StoreError> {
        let mut infos = BTreeMap::new();
        for batch in paths.chunks(PATHS) {
            let paths = batch.iter().map(|path| self.store_dir().render_path(path));
            let request = api::PathInfosRequest {
                paths: paths.collect(),
            };
            let reply = match self.control().path_infos(request).await {
                Ok(reply) => reply.into_inner(),
                Err(status) => {
                    return Err(self.failure("say what it knows of paths", &status).await);
                }
            };
            for info in reply.infos {
                let info = info.to_value(self.store_dir());
                let info = info.map_err(|error| StoreError::Unexpected {
                    expected: "a path info",
                    found: error.to_string(),
                })?;
                infos.insert(info.path.clone(), info);
            }
        }
        Ok(paths.iter().filter_map(|path| infos.remove(path)).collect())
    }

    async fn read_nar(&self, path: &StorePath) -> Result<NarStream, StoreError> {
        const ATTEMPT: &str = "give a path";
        let request = api::TakeNarRequest {
            path: self.store_dir().render_path(path),
            offset: 0,
        };
        let bulk = self.bulk().await?;
        let chunks = match bulk.client.clone().take_nar(request).await {
            Ok(chunks) => chunks.into_inner(),
            Err(status) => return Err(self.bulk_failure(&bulk, ATTEMPT, &status).await),
        };
        Ok(Box::pin(chunks.map(|chunk| match chunk {
            Ok(chunk) => Ok(chunk.bytes),
            Err(status) => Err(super::refused(ATTEMPT, &status)),
        })))
    }

    async fn import(&self, infos: &[PathInfo], source: &dyn Store) -> Result<(), StoreError> {
        if infos.is_empty() {
            return Ok(());
        }
        self.give(0, infos, source).await?.taken().await
    }
}
