//! `Home`, `Import` and `AddRoot`: the home store as those use it who have
//! something built.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream;
use musher_api::coordinator as api;
use musher_api::coordinator::import_message::Part;
use musher_protocol::types::PathInfo;
use musher_store::{NarStream, Store, StoreError, StoreInfo, Substitute};
use nix_derivation::{StoreDir, StorePath};
use tokio::sync::Mutex;
use tonic::{Status, Streaming};

use super::Service;

/// Where the home store is.
pub(super) fn home(service: &Service) -> api::HomeReply {
    let real_dir = service.home.real_dir();
    api::HomeReply {
        store_dir: service.store_dir.to_string(),
        real_dir: real_dir
            .map(|dir| dir.to_string_lossy().into_owned())
            .unwrap_or_default(),
        shown: service.home.shown(),
    }
}

/// Keeps what `link` leads to.
pub(super) async fn add_root(service: &Service, link: &str) -> Result<(), Status> {
    if !link.starts_with('/') {
        let text = format!("a root's link must be an absolute path, not `{link}`");
        return Err(Status::invalid_argument(text));
    }
    let added = service.home.add_root(Path::new(link)).await;
    added.map_err(|error| Status::failed_precondition(crate::error_text(&error)))
}

/// Adds the paths that come.
pub(super) async fn import(
    service: &Service,
    parts: Streaming<api::ImportMessage>,
) -> Result<api::ImportReply, Status> {
    let incoming = Arc::new(Mutex::new(Incoming { parts, next: None }));
    let mut added = 0;
    loop {
        let info = incoming.lock().await.info().await?;
        let Some(info) = info else {
            return Ok(api::ImportReply { added });
        };
        let info = info.to_value(&service.store_dir);
        let info = info.map_err(|error| Status::invalid_argument(error.to_string()))?;
        let source = OnePath {
            store_dir: service.store_dir.clone(),
            incoming: incoming.clone(),
        };
        let paths = BTreeSet::from([info.path.clone()]);
        let failed = |error: StoreError| {
            let path = service.store_dir.render_path(&info.path);
            let error = crate::error_text(&error);
            Status::failed_precondition(format!("cannot add `{path}` to the home store: {error}"))
        };
        if service.home.valid(&paths).await.map_err(failed)?.is_empty() {
            let infos = std::slice::from_ref(&info);
            service.home.import(infos, &source).await.map_err(failed)?;
            added += 1;
        }
    }
}

/// What a caller sends.
struct Incoming {
    parts: Streaming<api::ImportMessage>,
    /// The info that came where another chunk was looked for.
    next: Option<api::PathInfo>,
}

impl Incoming {
    /// The next path, what is left of the one before passed over; none at the
    /// end.
    async fn info(&mut self) -> Result<Option<api::PathInfo>, Status> {
        while self.next.is_none() {
            match self.part().await? {
                Some(Part::Info(info)) => self.next = Some(info),
                Some(Part::Chunk(_)) => {}
                None => return Ok(None),
            }
        }
        Ok(self.next.take())
    }

    /// The next chunk of the current path; none at its end.
    async fn chunk(&mut self) -> Result<Option<bytes::Bytes>, Status> {
        if self.next.is_some() {
            return Ok(None);
        }
        match self.part().await? {
            Some(Part::Chunk(chunk)) => Ok(Some(chunk)),
            Some(Part::Info(info)) => {
                self.next = Some(info);
                Ok(None)
            }
            None => Ok(None),
        }
    }

    async fn part(&mut self) -> Result<Option<Part>, Status> {
        let Some(message) = self.parts.message().await? else {
            return Ok(None);
        };
        let empty = || Status::invalid_argument("an import message without a part");
        message.part.ok_or_else(empty).map(Some)
    }
}

/// The path that is coming, as a store to read it from.
struct OnePath {
    store_dir: StoreDir,
    incoming: Arc<Mutex<Incoming>>,
}

#[async_trait]
impl Store for OnePath {
    fn store_dir(&self) -> &StoreDir {
        &self.store_dir
    }

    async fn ping(&self) -> Result<StoreInfo, StoreError> {
        Err(StoreError::Unsupported { what: "a ping" })
    }

    async fn valid_paths(
        &self,
        _: &BTreeSet<StorePath>,
        _: Substitute,
    ) -> Result<BTreeSet<StorePath>, StoreError> {
        Err(StoreError::Unsupported { what: "a question" })
    }

    async fn path_infos(&self, _: &[StorePath]) -> Result<Vec<PathInfo>, StoreError> {
        Err(StoreError::Unsupported { what: "a question" })
    }

    async fn read_nar(&self, _: &StorePath) -> Result<NarStream, StoreError> {
        let incoming = self.incoming.clone().lock_owned().await;
        Ok(Box::pin(stream::unfold(Some(incoming), async |incoming| {
            let mut incoming = incoming?;
            match incoming.chunk().await {
                Ok(Some(chunk)) => Some((Ok(chunk), Some(incoming))),
                Ok(None) => None,
                Err(status) => {
                    let source = io::Error::other(status);
                    Some((Err(StoreError::Transport { source }), None))
                }
            }
        })))
    }

    async fn import(&self, _: &[PathInfo], _: &dyn Store) -> Result<(), StoreError> {
        Err(StoreError::Unsupported { what: "an import" })
    }
}
