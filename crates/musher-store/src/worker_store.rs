//! A store behind a nix-daemon, near or far: the worker protocol as a
//! [`Store`].

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use musher_protocol::types::PathInfo;
use musher_protocol::worker::{BodyItem, ClientConfig, ClientEvent, Request, Response, Trust};
use nix_derivation::{StoreDir, StorePath};

use crate::StoreError;
use crate::connector::{Connector, Way};
use crate::nar_file::read_nar_file;
use crate::pool::Pool;
use crate::store::{NarStream, Store, StoreInfo, Substitute};
use crate::worker_connection::{WorkerConnection, deaf, unexpected};

/// A store behind a nix-daemon.
pub struct WorkerStore {
    connector: Connector,
    config: ClientConfig,
    /// Where the store directory's files can be read directly, if they can.
    disk: Option<PathBuf>,
    idle: Arc<Pool<WorkerConnection>>,
}

impl WorkerStore {
    /// A store that is reached through `connector`. NARs are read from below
    /// `disk`, the store directory's place on this host, where that is given.
    pub fn new(connector: Connector, store_dir: StoreDir, disk: Option<PathBuf>) -> Self {
        let config = ClientConfig::new(store_dir);
        Self {
            connector,
            config,
            disk,
            idle: Arc::default(),
        }
    }

    /// Where its connections lead.
    pub fn way(&self) -> &Way {
        &self.connector.way
    }

    /// What its connections begin with.
    pub(crate) fn config(&self) -> &ClientConfig {
        &self.config
    }

    /// Where the store directory's files can be read directly, if they can.
    pub fn disk(&self) -> Option<&Path> {
        self.disk.as_deref()
    }

    /// An open connection: one that was used before, or a new one.
    pub async fn connection(&self) -> Result<WorkerConnection, StoreError> {
        match self.idle.take() {
            Some(connection) => Ok(connection),
            None => self.open().await,
        }
    }

    /// A new connection.
    pub async fn open(&self) -> Result<WorkerConnection, StoreError> {
        let config = self.config.clone();
        self.connector
            .open(async |transport| WorkerConnection::open(transport, config).await)
            .await
    }

    /// Whether the daemon trusts us, and an open connection.
    pub async fn trust(&self) -> Result<(Trust, WorkerConnection), StoreError> {
        let mut connection = self.connection().await?;
        let trust = connection.trust().await?;
        if connection.is_spent() {
            connection = self.open().await?;
        }
        Ok((trust, connection))
    }

    /// Gives a connection back for later use; drops it if it is in the middle
    /// of something.
    pub fn give_back(&self, mut connection: WorkerConnection) {
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
    pub fn nar_stream(&self, connection: WorkerConnection) -> NarStream {
        let state = Some((connection, self.idle.clone()));
        Box::pin(stream::unfold(state, async |state| {
            let (mut connection, idle) = state?;
            let error = loop {
                match connection.event().await {
                    Ok(ClientEvent::Nar(chunk)) => {
                        return Some((Ok(chunk), Some((connection, idle))));
                    }
                    Ok(ClientEvent::Message(_)) => {}
                    Ok(ClientEvent::Reply(_)) => {
                        if connection.is_idle() {
                            idle.give_back(connection);
                        }
                        return None;
                    }
                    Ok(ClientEvent::Failed(error)) => break StoreError::Remote(error),
                    Ok(other @ (ClientEvent::Ready(_) | ClientEvent::Refused(_))) => {
                        break unexpected("a NAR", &other);
                    }
                    Err(error) => break error,
                }
            };
            Some((Err(error), None))
        }))
    }
}

#[async_trait]
impl Store for WorkerStore {
    fn store_dir(&self) -> &StoreDir {
        &self.config.store_dir
    }

    async fn ping(&self) -> Result<StoreInfo, StoreError> {
        let (trust, mut connection) = self.trust().await?;
        let asked = Instant::now();
        connection
            .call(
                Request::QueryValidPaths {
                    paths: BTreeSet::new(),
                    substitute: false,
                },
                &mut deaf,
            )
            .await?;
        let round_trip = asked.elapsed();
        let negotiated = connection.negotiated();
        let info = StoreInfo {
            nix_version: negotiated.nix_version.as_ref().map(ToString::to_string),
            protocol: format!("worker {}", negotiated.version),
            trust: Some(trust),
            round_trip,
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
            paths: paths.clone(),
            substitute,
        };
        let answer = connection.call(request, &mut deaf).await?;
        let Response::Paths(valid) = answer else {
            return Err(unexpected("a set of paths", &answer));
        };
        // A nix-daemon keeps what it has fetched from its garbage collector for
        // as long as the connection is there.
        if !substitute {
            self.give_back(connection);
        }
        Ok(valid)
    }

    async fn substitutable_paths(
        &self,
        paths: &BTreeSet<StorePath>,
    ) -> Result<BTreeSet<StorePath>, StoreError> {
        let mut connection = self.connection().await?;
        let request = Request::QuerySubstitutablePaths(paths.clone());
        let answer = connection.call(request, &mut deaf).await?;
        let Response::Paths(found) = answer else {
            return Err(unexpected("a set of paths", &answer));
        };
        self.give_back(connection);
        Ok(found)
    }

    async fn path_infos(&self, paths: &[StorePath]) -> Result<Vec<PathInfo>, StoreError> {
        let mut connection = self.connection().await?;
        for path in paths {
            connection.request(Request::QueryPathInfo(path.clone()))?;
        }
        let mut infos = Vec::with_capacity(paths.len());
        for _ in paths {
            let answer = connection.answer(&mut deaf).await?;
            let Response::PathInfo(info) = answer else {
                return Err(unexpected("a path info", &answer));
            };
            infos.extend(info);
        }
        self.give_back(connection);
        Ok(infos)
    }

    async fn read_nar(&self, path: &StorePath) -> Result<NarStream, StoreError> {
        if let Some(disk) = &self.disk {
            return Ok(read_nar_file(disk.join(path.to_basename())));
        }
        let mut connection = self.connection().await?;
        connection.request(Request::NarFromPath(path.clone()))?;
        Ok(self.nar_stream(connection))
    }

    async fn import(&self, infos: &[PathInfo], source: &dyn Store) -> Result<(), StoreError> {
        if infos.is_empty() {
            return Ok(());
        }
        let (trust, mut connection) = self.trust().await?;
        let trusted = trust == Trust::Trusted;
        let answers = upload(&mut connection, infos, source, trusted).await?;
        for _ in 0..answers {
            connection.answer(&mut deaf).await?;
        }
        // What was added is kept for as long as this connection is there.
        drop(connection);
        Ok(())
    }
}

/// Writes `infos` and their NARs into `connection` in one stream, or one by
/// one where the daemon is too old for that. Returns how many answers there
/// will be; they are not awaited, so more can be asked at once. `unsigned` says
/// that signatures need not be checked, which a daemon grants only to those it
/// trusts.
pub async fn upload(
    connection: &mut WorkerConnection,
    infos: &[PathInfo],
    source: &dyn Store,
    unsigned: bool,
) -> Result<usize, StoreError> {
    if infos.is_empty() {
        return Ok(0);
    }
    let (repair, dont_check_sigs) = (false, unsigned);
    let at_once = connection.negotiated().version.has(32);
    if at_once {
        let count = infos.len() as u64;
        connection.request(Request::AddMultipleToStore {
            repair,
            dont_check_sigs,
            count,
        })?;
    }
    for info in infos {
        match at_once {
            true => connection.body(BodyItem::Path(info.clone())).await?,
            false => {
                let info = info.clone();
                connection.request(Request::AddToStoreNar {
                    info,
                    repair,
                    dont_check_sigs,
                })?;
            }
        }
        let mut nar = source.read_nar(&info.path).await?;
        while let Some(chunk) = nar.next().await {
            connection.body(BodyItem::Chunk(chunk?)).await?;
        }
        if !at_once {
            connection.body(BodyItem::End).await?;
        }
    }
    match at_once {
        true => {
            connection.body(BodyItem::End).await?;
            Ok(1)
        }
        false => Ok(infos.len()),
    }
}
