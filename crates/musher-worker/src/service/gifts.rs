//! Paths that a coordinator gives: which are wanted, and their NARs into the
//! store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use musher_api::limits::{CHUNK, PATHS};
use musher_api::worker as api;
use musher_api::worker::gift::Item;
use musher_store::local::{LocalStore, TempRoots};
use nix_derivation::StorePath;
use tokio::sync::{Notify, mpsc};
use tonic::{Status, Streaming};

use super::import::Import;
use super::lease::Lease;
use super::{blocking, broken, parse_path, refused_by_store};

/// Gifts under way, by the lease for whose sake they are given. Clones share
/// them.
#[derive(Debug, Clone, Default)]
pub(super) struct Gifts(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    open: Mutex<BTreeMap<Lease, usize>>,
    settled: Notify,
}

/// A gift under way, until it is dropped.
#[derive(Debug)]
pub(super) struct Opened {
    gifts: Gifts,
    lease: Lease,
}

impl Gifts {
    /// A gift begins.
    pub(super) fn open(&self, lease: Lease) -> Opened {
        *self.lock().entry(lease.clone()).or_default() += 1;
        Opened {
            gifts: self.clone(),
            lease,
        }
    }

    /// Waits until no gift for `lease` is under way.
    pub(super) async fn settled(&self, lease: &Lease) {
        loop {
            let settled = self.0.settled.notified();
            if !self.lock().contains_key(lease) {
                return;
            }
            settled.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Lease, usize>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let mut open = self.gifts.lock();
        if let Some(count) = open.get_mut(&self.lease) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.lease);
            }
        }
        drop(open);
        self.gifts.0.settled.notify_waiters();
    }
}

/// What a gift is taken with.
pub(super) struct Taking {
    pub(super) store: Arc<LocalStore>,
    /// Keeps what is taken, and what was there before.
    pub(super) roots: Arc<TempRoots>,
}

/// Takes a gift whose `Begin` was read: answers offers to `replies`, and puts
/// what comes into the store. Ends when all of it is registered.
pub(super) async fn take(
    taking: Taking,
    gift: &mut Streaming<api::Gift>,
    replies: &mpsc::Sender<Result<api::GiftReply, Status>>,
) -> Result<(), Status> {
    let mut wanted = answer_offers(&taking, gift, replies).await?;
    let mut import = None;
    while let Some(api::Gift { item }) = gift.message().await? {
        match item {
            Some(Item::Path(path)) => {
                let info = path.info.ok_or_else(|| broken("a path without its info"))?;
                let info = info.to_value(taking.store.store_dir());
                let info = info.map_err(|error| broken(&error.to_string()))?;
                if !wanted.remove(&info.path) {
                    let text = format!("`{}` was not wanted, or came before", info.path);
                    return Err(broken(&text));
                }
                // Most gifts are of what is there already.
                let import = import.get_or_insert_with(|| Import::start(taking.store.clone()));
                import.path(info).await?;
                import.chunk(checked(path.start)?).await?;
            }
            Some(Item::Chunk(bytes)) => match &mut import {
                Some(import) => import.chunk(checked(bytes)?).await?,
                None => return Err(broken("bytes of no path")),
            },
            Some(Item::Begin(_) | Item::Offer(_)) | None => {
                return Err(broken("an offer after the first path"));
            }
        }
    }
    if let Some(import) = import {
        import.finish().await?;
    }
    match wanted.first() {
        None => Ok(()),
        Some(path) => Err(broken(&format!("`{path}` was wanted, and did not come"))),
    }
}

/// Says which of the paths offered are wanted, and returns them all.
async fn answer_offers(
    taking: &Taking,
    gift: &mut Streaming<api::Gift>,
    replies: &mpsc::Sender<Result<api::GiftReply, Status>>,
) -> Result<BTreeSet<StorePath>, Status> {
    let mut wanted = BTreeSet::new();
    let mut offers = 0;
    loop {
        let Some(api::Gift {
            item: Some(Item::Offer(offer)),
        }) = gift.message().await?
        else {
            return Err(broken("no offer where one was to come"));
        };
        if offer.paths.len() > PATHS {
            return Err(broken("an offer of too many paths"));
        }
        let store_dir = taking.store.store_dir();
        let offered = (offer.paths.iter())
            .map(|path| parse_path(store_dir, path))
            .collect::<Result<Vec<_>, _>>()?;
        let (store, roots) = (taking.store.clone(), taking.roots.clone());
        // Protected first, or what was there a moment ago may be collected.
        let lacking = blocking(move || {
            roots.add_all(&offered)?;
            let valid = store.valid_paths(&offered.iter().cloned().collect())?;
            let lacking = offered.into_iter().filter(|path| !valid.contains(path));
            Ok(lacking.collect::<Vec<_>>())
        })
        .await
        .map_err(|error| refused_by_store(&error))?;
        offers += 1;
        let reply = api::GiftReply {
            wanted: (lacking.iter())
                .map(|path| store_dir.render_path(path))
                .collect(),
            offers,
        };
        wanted.extend(lacking);
        if replies.send(Ok(reply)).await.is_err() {
            return Err(Status::cancelled("the giver has gone"));
        }
        if offer.last {
            return Ok(wanted);
        }
    }
}

fn checked(bytes: bytes::Bytes) -> Result<bytes::Bytes, Status> {
    match bytes.len() <= CHUNK {
        true => Ok(bytes),
        false => Err(broken("a chunk that is too long")),
    }
}
