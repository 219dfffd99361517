//! A store to copy from that shows how far the copying is.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures_util::StreamExt as _;
use musher_protocol::types::PathInfo;
use musher_store::{NarStream, Store, StoreError, StoreInfo, Substitute};
use nix_derivation::{StoreDir, StorePath};

use crate::ui::{Progress, quantity};

/// A store of which everything read is counted.
pub(super) struct Metered {
    store: Arc<dyn Store>,
    meter: Arc<Mutex<Meter>>,
}

/// How far a copy is, and where that is shown.
struct Meter {
    tally: Tally,
    /// Whether reading failed, and not writing.
    failed: bool,
    progress: Option<Progress>,
}

/// How far a copy is.
#[derive(Debug, Default)]
struct Tally {
    paths: usize,
    paths_begun: usize,
    paths_done: usize,
    bytes: u64,
    bytes_done: u64,
    /// The name of the path being read.
    name: String,
}

impl Metered {
    /// `store`, of which `infos` will be read.
    pub(super) fn new(store: Arc<dyn Store>, infos: &[PathInfo], progress: Progress) -> Self {
        let tally = Tally {
            paths: infos.len(),
            bytes: infos.iter().map(|info| info.nar_size).sum(),
            ..Tally::default()
        };
        Self {
            store,
            meter: Arc::new(Mutex::new(Meter {
                tally,
                failed: false,
                progress: Some(progress),
            })),
        }
    }

    /// Shows no more. Tells whether reading failed.
    pub(super) fn finish(&self) -> bool {
        let mut meter = lock(&self.meter);
        meter.progress = None;
        meter.failed
    }
}

fn lock(meter: &Mutex<Meter>) -> MutexGuard<'_, Meter> {
    meter.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Store for Metered {
    fn store_dir(&self) -> &StoreDir {
        self.store.store_dir()
    }

    async fn ping(&self) -> Result<StoreInfo, StoreError> {
        self.store.ping().await
    }

    async fn valid_paths(
        &self,
        paths: &BTreeSet<StorePath>,
        substitute: Substitute,
    ) -> Result<BTreeSet<StorePath>, StoreError> {
        self.store.valid_paths(paths, substitute).await
    }

    async fn path_infos(&self, paths: &[StorePath]) -> Result<Vec<PathInfo>, StoreError> {
        self.store.path_infos(paths).await
    }

    async fn read_nar(&self, path: &StorePath) -> Result<NarStream, StoreError> {
        lock(&self.meter).begin(path);
        let nar = self.store.read_nar(path).await;
        let nar = nar.inspect_err(|_| lock(&self.meter).failed = true)?;
        let meter = self.meter.clone();
        let counted = nar.inspect(move |chunk| match chunk {
            Ok(chunk) => lock(&meter).read(chunk.len() as u64),
            Err(_) => lock(&meter).failed = true,
        });
        Ok(Box::pin(counted))
    }

    async fn import(&self, infos: &[PathInfo], source: &dyn Store) -> Result<(), StoreError> {
        self.store.import(infos, source).await
    }
}

impl Meter {
    fn begin(&mut self, path: &StorePath) {
        self.tally.begin(path.name());
        if let Some(progress) = &mut self.progress {
            progress.begin(|| self.tally.begun());
            progress.update(|| self.tally.state());
        }
    }

    fn read(&mut self, bytes: u64) {
        self.tally.bytes_done += bytes;
        if let Some(progress) = &mut self.progress {
            progress.update(|| self.tally.state());
        }
    }
}

impl Tally {
    /// The path called `name` is read now; those before are done.
    fn begin(&mut self, name: &str) {
        self.paths_done = self.paths_begun;
        self.paths_begun += 1;
        name.clone_into(&mut self.name);
    }

    fn begun(&self) -> String {
        format!(
            "copying {} of {}: {}",
            self.paths_begun, self.paths, self.name
        )
    }

    fn state(&self) -> String {
        format!(
            "{} of {} paths, {} of {}: {}",
            self.paths_done,
            self.paths,
            quantity::size(self.bytes_done),
            quantity::size(self.bytes),
            self.name
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_done_when_the_next_begins() {
        let mut tally = Tally {
            paths: 2,
            bytes: 3 << 20,
            ..Tally::default()
        };
        tally.begin("libc");
        assert_eq!(tally.begun(), "copying 1 of 2: libc");
        tally.bytes_done = 1 << 20;
        assert_eq!(tally.state(), "0 of 2 paths, 1.00 MiB of 3.00 MiB: libc");
        tally.begin("app");
        assert_eq!(tally.begun(), "copying 2 of 2: app");
        assert_eq!(tally.state(), "1 of 2 paths, 1.00 MiB of 3.00 MiB: app");
    }
}
