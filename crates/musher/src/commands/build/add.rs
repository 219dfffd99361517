//! What must be in the home store before something can be built, on its way
//! there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use musher_api::coordinator as api;
use musher_api::coordinator::import_message::Part;
use musher_protocol::types::{NarHash, PathInfo};
use musher_store::{NAR_CHUNK, NarStream, Store, StoreError, read_nar_file};
use nix_archive::nar::{CaseHack, encode_regular, hash_path, hash_regular};
use nix_derivation::{CAHash, Derivation, HashAlgorithm, NixHash, StoreDir, StorePath, hash_bytes};

use super::Home;
use crate::coordinator::Coordinator;
use crate::failure::Failure;

/// A derivation to build, and the outputs wanted of it; none names them all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) drv_path: StorePath,
    pub(super) outputs: BTreeSet<String>,
}

/// Something to add.
pub(super) struct Item {
    info: PathInfo,
    nar: Nar,
}

/// Where its NAR comes from.
enum Nar {
    Bytes(Bytes),
    File(PathBuf),
    Store(Arc<dyn Store>),
}

#[derive(Debug, thiserror::Error)]
enum AddError {
    #[error("cannot read the source `{}`", file.display())]
    Source {
        file: PathBuf,
        source: nix_archive::nar::Error,
    },
    #[error("the source `{}` is not `{expected}`, it is `{found}`", file.display())]
    OtherSource {
        file: PathBuf,
        expected: String,
        found: String,
    },
    #[error("cannot name the source `{}`", file.display())]
    Name {
        file: PathBuf,
        source: nix_derivation::store_path::Error,
    },
    #[error("cannot pack the derivation `{name}`")]
    Pack {
        name: String,
        source: nix_archive::nar::Error,
    },
    #[error("cannot read what is to be added to the home store")]
    Read { source: StoreError },
}

impl Item {
    /// A derivation.
    pub(super) fn derivation(path: StorePath, derivation: &Derivation) -> Result<Self, Failure> {
        let text = derivation.to_aterm_bytes();
        let mut nar = Vec::new();
        encode_regular(&mut nar, &text, false).map_err(|source| {
            let name = path.name().to_owned();
            Failure::environment(AddError::Pack { name, source })
        })?;
        let NixHash::Sha256(digest) = hash_bytes(HashAlgorithm::Sha256, &text) else {
            unreachable!("bug: SHA-256 made another hash");
        };
        let inputs = derivation.input_derivations().keys();
        let references = inputs.chain(derivation.input_sources()).cloned();
        let info = PathInfo {
            nar_hash: NarHash(hash_regular(&text, false).sha256),
            nar_size: nar.len() as u64,
            references: references.collect(),
            ..by_content(path, CAHash::Text(digest))
        };
        let nar = Nar::Bytes(nar.into());
        Ok(Self { info, nar })
    }

    /// A file or directory, which must be the source `expected`.
    pub(super) async fn source(
        expected: StorePath,
        file: PathBuf,
        store_dir: &StoreDir,
    ) -> Result<Self, Failure> {
        let place = file.clone();
        let hashed =
            tokio::task::spawn_blocking(move || hash_path(&place, CaseHack::native())).await;
        let hash = hashed.unwrap_or_else(|_| unreachable!("bug: hashing a file panicked"));
        let hash = hash.map_err(|source| {
            let file = file.clone();
            Failure::user(AddError::Source { file, source })
        })?;
        let ca = CAHash::Nar(NixHash::Sha256(hash.sha256));
        let found = store_dir.build_ca_path(expected.name(), &ca, [], false);
        let found = found.map_err(|source| {
            let file = file.clone();
            Failure::user(AddError::Name { file, source })
        })?;
        if found != expected {
            let help = "it was changed after the derivations were made";
            return Err(Failure::user(AddError::OtherSource {
                file,
                expected: expected.to_basename(),
                found: found.to_basename(),
            })
            .help(help.to_owned()));
        }
        let info = PathInfo {
            nar_hash: NarHash(hash.sha256),
            nar_size: hash.size,
            ..by_content(found, ca)
        };
        let nar = Nar::File(file);
        Ok(Self { info, nar })
    }

    /// A path of another store.
    pub(super) fn of_store(info: PathInfo, store: Arc<dyn Store>) -> Self {
        let nar = Nar::Store(store);
        Self { info, nar }
    }
}

fn by_content(path: StorePath, ca: CAHash) -> PathInfo {
    PathInfo {
        path,
        deriver: None,
        nar_hash: NarHash([0; 32]),
        nar_size: 0,
        references: BTreeSet::new(),
        registration_time: 0,
        ultimate: false,
        signatures: BTreeSet::new(),
        ca: Some(ca),
    }
}

/// Adds those of `items` that are not valid, each after those it refers to.
pub(super) async fn add(
    coordinator: &mut Coordinator,
    home: &Home,
    items: Vec<Item>,
) -> Result<(), Failure> {
    let paths = items
        .iter()
        .map(|item| home.store_dir.render_path(&item.info.path));
    let valid = coordinator.valid_paths(paths.collect()).await?;
    let valid: BTreeSet<_> = valid.into_iter().collect();
    let is_missing = |item: &Item| !valid.contains(&home.store_dir.render_path(&item.info.path));
    let missing: Vec<_> = items.into_iter().filter(is_missing).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let failed = Arc::new(Mutex::new(None));
    let parts = parts(missing, home.store_dir.clone(), failed.clone());
    let added = coordinator.import(parts).await;
    let failed = failed.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(source) = failed {
        return Err(Failure::environment(AddError::Read { source }));
    }
    added?;
    Ok(())
}

/// The messages for `items`. They end early where something cannot be read,
/// which is then `failed`.
fn parts(
    items: Vec<Item>,
    store_dir: StoreDir,
    failed: Arc<Mutex<Option<StoreError>>>,
) -> impl Stream<Item = api::ImportMessage> + Send {
    let parts = stream::iter(items).then(move |item| {
        let info = api::PathInfo::from_value(&store_dir, &item.info);
        async move {
            let nar = nar(item).await;
            let info = stream::once(async { Ok(Part::Info(info)) });
            let chunks = nar.map(|chunk| chunk.map(Part::Chunk));
            info.chain(chunks)
        }
    });
    parts
        .flatten()
        .map(move |part| {
            part.map_err(|error| {
                *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            })
        })
        .take_while(|part| std::future::ready(part.is_ok()))
        .filter_map(|part| std::future::ready(part.ok()))
        .map(|part| api::ImportMessage { part: Some(part) })
}

async fn nar(item: Item) -> NarStream {
    match item.nar {
        Nar::Bytes(mut rest) => {
            let mut chunks = Vec::new();
            while !rest.is_empty() {
                chunks.push(Ok(rest.split_to(rest.len().min(NAR_CHUNK))));
            }
            Box::pin(stream::iter(chunks))
        }
        Nar::File(file) => read_nar_file(file),
        Nar::Store(store) => match store.read_nar(&item.info.path).await {
            Ok(nar) => nar,
            Err(error) => Box::pin(stream::iter([Err(error)])),
        },
    }
}

/// The items for the sources of a document that exist by those names.
pub(super) async fn sources(
    sources: &BTreeMap<StorePath, PathBuf>,
    store_dir: &StoreDir,
) -> Result<Vec<Item>, Failure> {
    let mut items = Vec::new();
    for (path, file) in sources {
        let file: &Path = file;
        items.push(Item::source(path.clone(), file.to_owned(), store_dir).await?);
    }
    Ok(items)
}
