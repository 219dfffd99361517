//! A machine with stock Nix, spoken to by the worker protocol (`ssh-ng://`).
//!
//! A build usually costs one exchange: what protects its inputs, what asks for
//! them, the build, and what asks for its output are written at once. The
//! answers tell, by facts and not by words, whether the inputs were there.

mod answers;
#[cfg(test)]
mod tests;
mod trusted;
mod untrusted;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use musher_protocol::worker::{Request, Trust};
use musher_store::ssh::Link;
use musher_store::{NarStream, Store, StoreError, WorkerConnection, WorkerStore, deaf};
use nix_derivation::StorePath;

use super::keeper::{Keeper, Touch};
use super::{Builder, BuilderInfo, Fault, Outcome, ask_trust};
use crate::attempt::{LogSink, Order};

/// How long a connection may be idle. As long as it is open, the nix-daemon
/// keeps what was touched on it from its garbage collector.
const IDLE: Duration = Duration::from_secs(30);

/// A machine that speaks the worker protocol.
pub(crate) struct WorkerBuilder {
    link: Link,
    store: Arc<WorkerStore>,
    /// Whether the machine may fetch inputs from its own substituters.
    substitutes: bool,
    /// As it was when we last connected.
    trust: Mutex<Option<Trust>>,
    keeper: Arc<Keeper<WorkerConnection>>,
}

impl WorkerBuilder {
    /// The machine at the end of `link`, whose daemon `store` speaks to.
    pub(crate) fn new(link: Link, store: Arc<WorkerStore>, substitutes: bool) -> Self {
        Self {
            link,
            store,
            substitutes,
            trust: Mutex::new(None),
            keeper: Arc::default(),
        }
    }

    fn trust(&self) -> Option<Trust> {
        *self.trust.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Builder for WorkerBuilder {
    async fn connect(&self) -> Result<BuilderInfo, StoreError> {
        self.link.connect().await.map_err(StoreError::Ssh)?;
        // Always a new connection: an old one says nothing about new ones.
        let mut connection = self.store.open().await?;
        let trust = ask_trust(&mut connection).await?;
        *self.trust.lock().unwrap_or_else(PoisonError::into_inner) = Some(trust);
        let negotiated = connection.negotiated();
        let info = BuilderInfo {
            nix_version: negotiated.nix_version.as_ref().map(ToString::to_string),
            protocol: format!("worker {}", negotiated.version),
            trust: Some(trust),
        };
        self.store.give_back(connection);
        Ok(info)
    }

    async fn lost(&self) -> String {
        let mut sweep = tokio::time::interval(IDLE);
        loop {
            tokio::select! {
                error = self.link.lost() => return crate::short_text(&error),
                _ = sweep.tick() => self.store.close_idle(IDLE),
            }
        }
    }

    async fn disconnect(&self) {
        self.store.close_idle(Duration::ZERO);
    }

    async fn attempt(&self, order: &Order, log: &mut LogSink) -> Result<Outcome, Fault> {
        let connection = self.store.connection().await?;
        match self.trust() {
            Some(Trust::NotTrusted) => untrusted::attempt(self, connection, order, log).await,
            Some(Trust::Trusted) | None => trusted::attempt(self, connection, order, log).await,
        }
    }

    async fn read_nar(&self, path: &StorePath) -> Result<NarStream, StoreError> {
        self.store.read_nar(path).await
    }
}

#[async_trait]
impl Touch for WorkerConnection {
    async fn touch(&mut self, paths: &BTreeSet<StorePath>) -> Result<(), StoreError> {
        for path in paths {
            self.request(Request::AddTempRoot(path.clone()))?;
        }
        for _ in paths {
            self.answer(&mut deaf).await?;
        }
        Ok(())
    }
}

/// Gives a connection back when it is dropped. Until then the paths touched on
/// it are safe from the machine's garbage collector.
struct Rooted {
    connection: Option<WorkerConnection>,
    store: Arc<WorkerStore>,
}

impl Drop for Rooted {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.store.give_back(connection);
        }
    }
}
