//! A store behind a `nix-store --serve` (`ssh://`): the serve protocol as a
//! [`Store`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use musher_protocol::serve::{BodyItem, ClientEvent, Config, Request, Response};
use musher_protocol::types::PathInfo;
use nix_derivation::{StoreDir, StorePath};

use crate::StoreError;
use crate::connector::Connector;
use crate::pool::Pool;
use crate::serve_connection::ServeConnection;
use crate::store::{NarStream, Store, StoreInfo, Substitute};
use crate::worker_connection::unexpected;

/// A store behind a `nix-store --serve`.
pub struct ServeStore {
    connector: Connector,
    config: Config,
    idle: Arc<Pool<ServeConnection>>,
}

impl ServeStore {
    /// A store that is reached through `connector`.
    pub fn new(connector: Connector, store_dir: StoreDir) -> Self {
        Self {
            connector,
            config: Config::new(store_dir),
            idle: Arc::default(),
        }
    }

    /// An open connection: one that was used before, or a new one.
    pub async fn connection(&self) -> Result<ServeConnection, StoreError> {
        match self.idle.take() {
            Some(connection) => Ok(connection),
            None => self.open().await,
        }
    }

    /// A new connection.
    pub async fn open(&self) -> Result<ServeConnection, StoreError> {
        let config = self.config.clone();
        self.connector
            .open(async |transport| ServeConnection::open(transport, config).await)
            .await
    }

    /// Gives a connection back for later use; drops it if it is in the middle
    /// of something.
    pub fn give_back(&self, mut connection: ServeConnection) {
        if connection.is_idle() {
            self.idle.give_back(connection);
        }
    }

    /// Closes the connections that have been idle for `age` or longer.
    pub fn close_idle(&self, age: Duration) {
        self.idle.close(age);
    }

    /// The NAR that is the next answer on `connection`, which is given back
    /// once it is read, and dropped when the stream is dropped before.
    pub fn nar_stream(&self, connection: ServeConnection) -> NarStream {
        let state = Some((connection, self.idle.clone()));
        Box::pin(stream::unfold(state, async |state| {
            let (mut connection, idle) = state?;
            match connection.event().await {
                Ok(ClientEvent::Nar(chunk)) => Some((Ok(chunk), Some((connection, idle)))),
                Ok(ClientEvent::Reply(_)) => {
                    if connection.is_idle() {
                        idle.give_back(connection);
                    }
                    None
                }
                Ok(other) => Some((Err(unexpected("a NAR", &other)), None)),
                Err(error) => Some((Err(error), None)),
            }
        }))
    }
}

#[async_trait]
impl Store for ServeStore {
    fn store_dir(&self) -> &StoreDir {
        &self.config.store_dir
    }

    async fn ping(&self) -> Result<StoreInfo, StoreError> {
        let mut connection = self.connection().await?;
        let asked = Instant::now();
        let request = Request::QueryValidPaths {
            lock: false,
            substitute: false,
            paths: BTreeSet::new(),
        };
        connection.call(&request).await?;
        let info = StoreInfo {
            nix_version: None,
            protocol: format!("serve {}", connection.negotiated().version),
            trust: None,
            round_trip: asked.elapsed(),
        };
        self.give_back(connection);
        Ok(info)
    }

    async fn valid_paths(
        &self,
        paths: &BTreeSet<StorePath>,
        substitute: Substitute,
    ) -> Result<BTreeSet<StorePath>, StoreError> {
        let mut connection = self.connection().await?;
        let substitute = substitute == Substitute::Allowed;
        let request = Request::QueryValidPaths {
            lock: true,
            substitute,
            paths: paths.clone(),
        };
        let answer = connection.call(&request).await?;
        let Response::ValidPaths(valid) = answer else {
            return Err(unexpected("a set of paths", &answer));
        };
        self.give_back(connection);
        Ok(valid)
    }

    async fn path_infos(&self, paths: &[StorePath]) -> Result<Vec<PathInfo>, StoreError> {
        let mut connection = self.connection().await?;
        let request = Request::QueryPathInfos {
            paths: paths.iter().cloned().collect(),
        };
        let answer = connection.call(&request).await?;
        let Response::PathInfos(infos) = answer else {
            return Err(unexpected("path infos", &answer));
        };
        self.give_back(connection);
        let mut infos: BTreeMap<_, _> = infos
            .into_iter()
            .map(|info| (info.path.clone(), info))
            .collect();
        Ok(paths.iter().filter_map(|path| infos.remove(path)).collect())
    }

    async fn read_nar(&self, path: &StorePath) -> Result<NarStream, StoreError> {
        let mut connection = self.connection().await?;
        connection.request(&Request::DumpStorePath { path: path.clone() })?;
        Ok(self.nar_stream(connection))
    }

    async fn import(&self, infos: &[PathInfo], source: &dyn Store) -> Result<(), StoreError> {
        if infos.is_empty() {
            return Ok(());
        }
        let mut connection = self.connection().await?;
        send(&mut connection, infos, source).await?;
        taken(&mut connection, infos.len()).await?;
        self.give_back(connection);
        Ok(())
    }
}

/// Writes `infos` and their NARs into `connection`, one by one. Their answers,
/// one each, are not awaited; see [`taken`].
pub async fn send(
    connection: &mut ServeConnection,
    infos: &[PathInfo],
    source: &dyn Store,
) -> Result<(), StoreError> {
    for info in infos {
        connection.request(&Request::AddToStoreNar { info: info.clone() })?;
        let mut nar = source.read_nar(&info.path).await?;
        while let Some(chunk) = nar.next().await {
            connection.body(&BodyItem::Chunk(chunk?)).await?;
        }
        connection.body(&BodyItem::End).await?;
    }
    Ok(())
}

/// Waits for `count` answers to [`send`].
pub async fn taken(connection: &mut ServeConnection, count: usize) -> Result<(), StoreError> {
    for _ in 0..count {
        let answer = connection.answer().await?;
        let Response::Added(added) = answer else {
            return Err(unexpected("whether a path was added", &answer));
        };
        if !added {
            let end = connection.peer().ended(crate::PEER_END).await;
            return Err(StoreError::Refused {
                request: "a path",
                end: Box::new(end),
            });
        }
    }
    Ok(())
}
