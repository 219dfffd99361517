//! Paths given to a worker: offered, and those sent that it wants, all in one
//! exchange.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use musher_api::coordinator;
use musher_api::limits::{CHUNK, PATHS};
use musher_api::worker as api;
use musher_api::worker::gift::Item;
use musher_protocol::types::PathInfo;
use musher_store::{Store, StoreError};
use nix_derivation::{StoreDir, StorePath};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::channel::Channel;
use super::session::Session;

/// Messages that may wait for the connection; NARs come in chunks of 64 KiB.
const WAITING: usize = 8;

const ATTEMPT: &str = "take paths";

/// A gift of which all was sent. What the worker has to say about it is still
/// to come.
pub struct Gift<'a> {
    session: &'a Session,
    channel: Arc<Channel>,
    replies: Streaming<api::GiftReply>,
    /// The paths that it wanted.
    pub wanted: BTreeSet<StorePath>,
}

impl Session {
    /// Offers `infos`, each after those it refers to, for the sake of `lease`,
    /// and sends those that the worker wants from `source`. Which are already
    /// there it keeps for the lease too. With the lease 0 none are kept.
    pub async fn give(
        &self,
        lease: u64,
        infos: &[PathInfo],
        source: &dyn Store,
    ) -> Result<Gift<'_>, StoreError> {
        let (items, queue) = mpsc::channel(WAITING);
        let begin = api::Begin { lease };
        // The worker answers once it knows whose gift it is.
        let first = send(&items, Item::Begin(begin));
        let channel = self.bulk().await?;
        let mut client = channel.client.clone();
        let call = client.give_nars(ReceiverStream::new(queue));
        let (_, replies) = tokio::join!(first, call);
        let mut replies = match replies {
            Ok(replies) => replies.into_inner(),
            Err(status) => return Err(self.bulk_failure(&channel, ATTEMPT, &status).await),
        };
        let (_, wanted) = tokio::join!(
            offer(&items, self.store_dir(), infos),
            self.wanted(&channel, &mut replies, infos.len().div_ceil(PATHS)),
        );
        let wanted = wanted?;
        let sending = async {
            for info in infos.iter().filter(|info| wanted.contains(&info.path)) {
                if !send_path(&items, self.store_dir(), info, source).await? {
                    // The worker will say why it hung up.
                    return Ok(());
                }
            }
            Ok::<_, StoreError>(())
        };
        tokio::select! {
            biased;
            sent = sending => sent?,
            reply = replies.message() => {
                let status = reply.err().unwrap_or_else(|| Status::internal("it hung up"));
                return Err(self.bulk_failure(&channel, ATTEMPT, &status).await);
            }
        }
        Ok(Gift {
            session: self,
            channel,
            replies,
            wanted,
        })
    }

    async fn wanted(
        &self,
        channel: &Arc<Channel>,
        replies: &mut Streaming<api::GiftReply>,
        offers: usize,
    ) -> Result<BTreeSet<StorePath>, StoreError> {
        let mut wanted = BTreeSet::new();
        for _ in 0..offers.max(1) {
            let reply = match replies.message().await {
                Ok(Some(reply)) => reply,
                Ok(None) => {
                    let status = Status::internal("it answered too few offers");
                    return Err(super::refused(ATTEMPT, &status));
                }
                Err(status) => return Err(self.bulk_failure(channel, ATTEMPT, &status).await),
            };
            for path in &reply.wanted {
                wanted.insert(self.parse(path)?);
            }
        }
        Ok(wanted)
    }

    /// A path that the worker named.
    pub(crate) fn parse(&self, path: &str) -> Result<StorePath, StoreError> {
        let parsed = self.store_dir().parse_path(path.as_bytes());
        parsed.map_err(|_| StoreError::Unexpected {
            expected: "a store path",
            found: format!("`{path}`"),
        })
    }
}

impl Gift<'_> {
    /// Waits until all that was sent is valid there.
    pub async fn taken(mut self) -> Result<(), StoreError> {
        match self.replies.message().await {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(super::refused(
                ATTEMPT,
                &Status::internal("it answered an offer twice"),
            )),
            Err(status) => {
                let failure = self.session.bulk_failure(&self.channel, ATTEMPT, &status);
                Err(failure.await)
            }
        }
    }
}

async fn offer(items: &mpsc::Sender<api::Gift>, dir: &StoreDir, infos: &[PathInfo]) {
    let count = infos.len().div_ceil(PATHS).max(1);
    let mut batches = infos.chunks(PATHS);
    for number in 1..=count {
        let batch = batches.next().unwrap_or_default();
        let paths = batch.iter().map(|info| dir.render_path(&info.path));
        let offer = api::Offer {
            paths: paths.collect(),
            last: number == count,
        };
        send(items, Item::Offer(offer)).await;
    }
}

/// Sends one path; false if nobody takes it any more.
async fn send_path(
    items: &mpsc::Sender<api::Gift>,
    dir: &StoreDir,
    info: &PathInfo,
    source: &dyn Store,
) -> Result<bool, StoreError> {
    let mut nar = source.read_nar(&info.path).await?;
    let mut path = Some(coordinator::PathInfo::from_value(dir, info));
    loop {
        let chunk = nar.next().await.transpose()?;
        if chunk.is_none() && path.is_none() {
            return Ok(true);
        }
        let mut rest = chunk.unwrap_or_default();
        // What comes from a store is not longer than this; who knows of others.
        while !rest.is_empty() || path.is_some() {
            let bytes: Bytes = rest.split_to(rest.len().min(CHUNK));
            let item = match path.take() {
                Some(info) => Item::Path(api::Path {
                    info: Some(info),
                    start: bytes,
                }),
                None => Item::Chunk(bytes),
            };
            if !send(items, item).await {
                return Ok(false);
            }
        }
    }
}

async fn send(items: &mpsc::Sender<api::Gift>, item: Item) -> bool {
    items.send(api::Gift { item: Some(item) }).await.is_ok()
}
