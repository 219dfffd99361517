//! A store on this host's disk as a [`Store`]. Its calls block, so each runs on
//! a thread for that; NARs go there and back through channels of few chunks.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use futures_util::{StreamExt, stream};
use musher_protocol::types::PathInfo;
use musher_protocol::worker::Trust;
use nix_derivation::{StoreDir, StorePath};
use tokio::sync::{OnceCell, mpsc};
use tokio::task::spawn_blocking;

use crate::StoreError;
use crate::local::{
    Access, ImportChecks, Importer, LocalError, LocalOptions, LocalStore, Wanted, Wanter,
};
use crate::nar_file::read_nar_file;
use crate::store::{NarStream, Store, StoreInfo, Substitute};

/// Chunks that may wait to be unpacked.
const AHEAD: usize = 8;

/// A store on this host's disk. It is opened when it is first asked something.
pub struct DiskStore {
    options: LocalOptions,
    opened: OnceCell<Arc<LocalStore>>,
}

impl DiskStore {
    /// The store that `options` say.
    pub fn new(options: LocalOptions) -> Self {
        Self {
            options,
            opened: OnceCell::new(),
        }
    }

    /// The store itself; read-only where we may not write.
    pub async fn local(&self) -> Result<&Arc<LocalStore>, StoreError> {
        let open = || async {
            let options = self.options.clone();
            blocking(move || open_as_allowed(options))
                .await
                .map(Arc::new)
        };
        self.opened.get_or_try_init(open).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&LocalStore) -> Result<T, LocalError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = Arc::clone(self.local().await?);
        blocking(move || question(&store)).await
    }
}

/// Another user's store can be read by everybody.
fn open_as_allowed(options: LocalOptions) -> Result<LocalStore, LocalError> {
    let read_only = LocalOptions {
        access: Access::ReadOnly,
        ..options.clone()
    };
    match LocalStore::open(options) {
        Err(error) if error.is_forbidden() => LocalStore::open(read_only),
        opened => opened,
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LocalError> + Send + 'static,
) -> Result<T, StoreError> {
    match spawn_blocking(work).await {
        Ok(result) => result.map_err(StoreError::Local),
        Err(_) => Err(StoreError::GivenUp),
    }
}

#[async_trait]
impl Store for DiskStore {
    fn store_dir(&self) -> &StoreDir {
        &self.options.store_dir
    }

    async fn ping(&self) -> Result<StoreInfo, StoreError> {
        self.local().await?;
        let asked = Instant::now();
        self.ask(|store| store.valid_paths(&BTreeSet::new()))
            .await?;
        Ok(StoreInfo {
            nix_version: None,
            protocol: "disk".to_owned(),
            trust: Some(Trust::Trusted),
            round_trip: asked.elapsed(),
        })
    }

    async fn valid_paths(
        &self,
        paths: &BTreeSet<StorePath>,
        _substitute: Substitute,
    ) -> Result<BTreeSet<StorePath>, StoreError> {
        let paths = paths.clone();
        self.ask(move |store| store.valid_paths(&paths)).await
    }

    async fn path_infos(&self, paths: &[StorePath]) -> Result<Vec<PathInfo>, StoreError> {
        let paths = paths.to_vec();
        self.ask(move |store| store.path_infos(&paths)).await
    }

    async fn read_nar(&self, path: &StorePath) -> Result<NarStream, StoreError> {
        let wanted = path.clone();
        let (place, roots) = self
            .ask(move |store| {
                let roots = store.temp_roots()?;
                roots.add(&wanted)?;
                match store.is_valid(&wanted)? {
                    true => Ok((store.real_path(&wanted), roots)),
                    false => Err(LocalError::NotValid {
                        path: store.store_dir().render_path(&wanted),
                    }),
                }
            })
            .await?;
        // Nobody collects it while it is read.
        let state = (read_nar_file(place), roots);
        Ok(Box::pin(stream::unfold(state, async |(mut nar, roots)| {
            let chunk = nar.next().await?;
            Some((chunk, (nar, roots)))
        })))
    }

    async fn import(&self, infos: &[PathInfo], source: &dyn Store) -> Result<(), StoreError> {
        if infos.is_empty() {
            return Ok(());
        }
        let all = infos.iter().map(|info| info.path.clone()).collect();
        let valid = self.valid_paths(&all, Substitute::No).await?;
        let store = Arc::clone(self.local().await?);
        let (sender, receiver) = mpsc::channel(AHEAD);
        let wanter = Wanter::default();
        let wanted = wanter.wanted();
        let importing = spawn_blocking(move || import_all(&store, receiver, wanted));
        let new = infos.iter().filter(|info| !valid.contains(&info.path));
        let sent = send_all(new, source, sender).await;
        // Without a source there is nothing to wait for.
        let _wanter = sent.is_ok().then_some(wanter);
        let imported = match importing.await {
            Ok(imported) => imported.map_err(StoreError::Local),
            Err(_) => Err(StoreError::GivenUp),
        };
        // What ended the sending also ended the importing.
        match sent {
            Err(Some(error)) => Err(error),
            Err(None) | Ok(()) => imported,
        }
    }
}

/// What goes to the thread that imports.
enum Item {
    /// The next path.
    Path(Box<PathInfo>),
    /// Bytes of its NAR.
    Chunk(Bytes),
    /// The NAR is complete.
    End,
}

/// Sends paths and their NARs. The error is none if it is the receiver that
/// ended.
async fn send_all(
    infos: impl Iterator<Item = &PathInfo>,
    source: &dyn Store,
    sender: mpsc::Sender<Item>,
) -> Result<(), Option<StoreError>> {
    let send = async |item| sender.send(item).await.map_err(|_| None);
    for info in infos {
        send(Item::Path(Box::new(info.clone()))).await?;
        let mut nar = source.read_nar(&info.path).await.map_err(Some)?;
        while let Some(chunk) = nar.next().await {
            send(Item::Chunk(chunk.map_err(Some)?)).await?;
        }
        send(Item::End).await?;
    }
    Ok(())
}

fn import_all(
    store: &LocalStore,
    mut items: mpsc::Receiver<Item>,
    wanted: Wanted,
) -> Result<(), LocalError> {
    let importer = store.importer(ImportChecks::default())?;
    let mut importer = importer.while_wanted(wanted);
    let mut received = Ok(());
    while let Some(Item::Path(info)) = items.blocking_recv() {
        received = import_one(store, &mut importer, &info, &mut items);
        if received.is_err() {
            break;
        }
    }
    // What was complete stays, whatever came after it.
    importer.finish()?;
    received
}

fn import_one(
    store: &LocalStore,
    importer: &mut Importer<'_>,
    info: &PathInfo,
    items: &mut mpsc::Receiver<Item>,
) -> Result<(), LocalError> {
    let mut nar = ReceivedNar {
        items,
        chunk: Bytes::new(),
        ended: false,
    };
    importer.add(info, &mut nar)?;
    // One that became valid meanwhile was not read.
    let rest = io::copy(&mut nar, &mut io::sink());
    rest.map_err(|source| LocalError::Unpack {
        path: store.store_dir().render_path(&info.path),
        source: source.into(),
    })?;
    Ok(())
}

/// The bytes of one NAR, as they come.
struct ReceivedNar<'a> {
    items: &'a mut mpsc::Receiver<Item>,
    chunk: Bytes,
    ended: bool,
}

impl Read for ReceivedNar<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() && !self.ended {
            match self.items.blocking_recv() {
                Some(Item::Chunk(chunk)) => self.chunk = chunk,
                Some(Item::End) => self.ended = true,
                Some(Item::Path(_)) | None => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
        let count = buffer.len().min(self.chunk.len());
        self.chunk.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}
