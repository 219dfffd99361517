//! A home store in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use musher_protocol::types::PathInfo;
use musher_store::{NarStream, Store, StoreError, StoreInfo, Substitute};
use nix_derivation::{StoreDir, StorePath};
use tokio::sync::watch;

use super::nar;

/// A store that holds what it was made with. Remembers what it was asked.
pub(crate) struct HomeStore {
    dir: StoreDir,
    infos: Mutex<BTreeMap<StorePath, PathInfo>>,
    /// The NARs of those whose NAR is not that of their name.
    nars: Mutex<BTreeMap<StorePath, Bytes>>,
    imported: Mutex<Vec<String>>,
    asked: Mutex<Vec<String>>,
    answers: watch::Sender<bool>,
    refused: Mutex<Option<StorePath>>,
    fetchable: Mutex<BTreeSet<StorePath>>,
    failures: AtomicU32,
}

impl HomeStore {
    pub(crate) fn new(infos: impl IntoIterator<Item = PathInfo>) -> Self {
        Self {
            dir: StoreDir::default(),
            infos: Mutex::new(
                infos
                    .into_iter()
                    .map(|info| (info.path.clone(), info))
                    .collect(),
            ),
            nars: Mutex::default(),
            imported: Mutex::default(),
            asked: Mutex::default(),
            answers: watch::Sender::new(true),
            refused: Mutex::default(),
            fetchable: Mutex::default(),
            failures: AtomicU32::new(0),
        }
    }

    /// Makes a file with this content valid.
    pub(crate) fn add(&self, info: PathInfo, content: &str) {
        lock(&self.nars).insert(info.path.clone(), nar(content).into());
        lock(&self.infos).insert(info.path.clone(), info);
    }

    /// The names that were imported since the last call, in order.
    pub(crate) fn imported(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.imported))
    }

    /// Lets it not take this path.
    pub(crate) fn refuses(&self, name: &str) {
        *lock(&self.refused) = Some(super::path(name));
    }

    /// Lets it be able to fetch this path.
    pub(crate) fn could_fetch(&self, name: &str) {
        lock(&self.fetchable).insert(super::path(name));
    }

    /// Lets it answer from now on, or not.
    pub(crate) fn answers(&self, answers: bool) {
        self.answers.send_replace(answers);
    }

    /// Lets it not be reached that many times.
    pub(crate) fn fails(&self, times: u32) {
        self.failures.store(times, Ordering::Relaxed);
    }

    async fn until_it_answers(&self) {
        let mut answers = self.answers.subscribe();
        let answers = answers.wait_for(|answers| *answers).await;
        answers.expect("the sender is ours");
    }

    /// How many questions wait for an answer.
    pub(crate) fn waiting(&self) -> usize {
        self.answers.receiver_count()
    }

    /// The names whose infos it was asked for since the last call, a line a
    /// question.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.asked))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Store for HomeStore {
    fn store_dir(&self) -> &StoreDir {
        &self.dir
    }

    async fn ping(&self) -> Result<StoreInfo, StoreError> {
        Err(StoreError::Unsupported { what: "a ping" })
    }

    async fn valid_paths(
        &self,
        paths: &BTreeSet<StorePath>,
        _: Substitute,
    ) -> Result<BTreeSet<StorePath>, StoreError> {
        let infos = lock(&self.infos);
        let valid = paths.iter().filter(|path| infos.contains_key(*path));
        Ok(valid.cloned().collect())
    }

    async fn substitutable_paths(
        &self,
        paths: &BTreeSet<StorePath>,
    ) -> Result<BTreeSet<StorePath>, StoreError> {
        Ok(paths & &lock(&self.fetchable))
    }

    async fn path_infos(&self, paths: &[StorePath]) -> Result<Vec<PathInfo>, StoreError> {
        let less = |left: u32| left.checked_sub(1);
        let failures = &self.failures;
        if failures
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .is_ok()
        {
            return Err(StoreError::Silent {
                command: "nix-daemon".to_owned(),
                after: Duration::from_secs(1),
            });
        }
        let names: Vec<_> = paths.iter().map(StorePath::name).collect();
        lock(&self.asked).push(names.join(" "));
        self.until_it_answers().await;
        let infos = lock(&self.infos);
        let infos = paths.iter().filter_map(|path| infos.get(path));
        Ok(infos.cloned().collect())
    }

    async fn read_nar(&self, path: &StorePath) -> Result<NarStream, StoreError> {
        // In two pieces, as a long one would be.
        let own = lock(&self.nars).get(path).cloned();
        let mut first = own.unwrap_or_else(|| nar(path.name()).into());
        let rest = first.split_off(24);
        Ok(Box::pin(stream::iter([Ok(first), Ok(rest)])))
    }

    async fn import(&self, infos: &[PathInfo], source: &dyn Store) -> Result<(), StoreError> {
        self.until_it_answers().await;
        for info in infos {
            if lock(&self.refused).as_ref() == Some(&info.path) {
                return Err(StoreError::Unsupported { what: "taking it" });
            }
            let mut nar = source.read_nar(&info.path).await?;
            while let Some(chunk) = nar.next().await {
                chunk?;
            }
            lock(&self.infos).insert(info.path.clone(), info.clone());
            lock(&self.imported).push(info.path.name().to_owned());
        }
        Ok(())
    }
}
