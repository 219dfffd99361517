//! Paths made on the fly, and a store of them to copy from. They are addressed
//! by their content, so that every store takes them from anyone.

use std::collections::BTreeSet;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use musher_protocol::types::{NarHash, PathInfo};
use musher_store::{NAR_CHUNK, NarStream, Store, StoreError, StoreInfo, Substitute};
use nix_archive::nar::{encode_regular, hash_regular};
use nix_derivation::{CAHash, HashAlgorithm, NixHash, StoreDir, StorePath, hash_bytes};
use rand::RngCore as _;

/// One path that holds a file.
pub(super) struct Sample {
    store_dir: StoreDir,
    pub(super) info: PathInfo,
    nar: Bytes,
}

/// A path that cannot be made; its name is ours, so this is not expected.
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum SampleError {
    #[error("cannot name a path to copy")]
    Name(#[source] nix_derivation::store_path::Error),
    #[error("cannot pack a path to copy")]
    Pack(#[source] nix_archive::nar::Error),
}

impl Sample {
    /// A file of random bytes, which nothing on the way can compress.
    pub(super) fn random(store_dir: &StoreDir, size: usize) -> Result<Self, SampleError> {
        let mut content = vec![0; size];
        rand::rng().fill_bytes(&mut content);
        let hash = NixHash::Sha256(hash_regular(&content, false).sha256);
        let ca = CAHash::Nar(hash);
        let path = store_dir.build_ca_path("musher-test-data", &ca, [], false);
        let path = path.map_err(SampleError::Name)?;
        Self::new(store_dir, path, ca, &content)
    }

    /// A text, a derivation for example, that refers to nothing.
    pub(super) fn text(
        store_dir: &StoreDir,
        name: &str,
        content: &[u8],
    ) -> Result<Self, SampleError> {
        let NixHash::Sha256(digest) = hash_bytes(HashAlgorithm::Sha256, content) else {
            unreachable!("bug: SHA-256 made another hash");
        };
        let path = store_dir.build_text_path(name, content, []);
        let path = path.map_err(SampleError::Name)?;
        Self::new(store_dir, path, CAHash::Text(digest), content)
    }

    fn new(
        store_dir: &StoreDir,
        path: StorePath,
        ca: CAHash,
        content: &[u8],
    ) -> Result<Self, SampleError> {
        let hash = hash_regular(content, false);
        let mut nar = Vec::new();
        encode_regular(&mut nar, content, false).map_err(SampleError::Pack)?;
        let info = PathInfo {
            path,
            deriver: None,
            nar_hash: NarHash(hash.sha256),
            nar_size: nar.len() as u64,
            references: BTreeSet::new(),
            registration_time: 0,
            ultimate: false,
            signatures: BTreeSet::new(),
            ca: Some(ca),
        };
        Ok(Self {
            store_dir: store_dir.clone(),
            info,
            nar: nar.into(),
        })
    }
}

#[async_trait]
impl Store for Sample {
    fn store_dir(&self) -> &StoreDir {
        &self.store_dir
    }

    async fn ping(&self) -> Result<StoreInfo, StoreError> {
        Err(unsupported("asking who it is"))
    }

    async fn valid_paths(
        &self,
        paths: &BTreeSet<StorePath>,
        _: Substitute,
    ) -> Result<BTreeSet<StorePath>, StoreError> {
        let own = paths.iter().filter(|path| **path == self.info.path);
        Ok(own.cloned().collect())
    }

    async fn path_infos(&self, paths: &[StorePath]) -> Result<Vec<PathInfo>, StoreError> {
        let own = paths.iter().filter(|path| **path == self.info.path);
        Ok(own.map(|_| self.info.clone()).collect())
    }

    async fn read_nar(&self, path: &StorePath) -> Result<NarStream, StoreError> {
        if *path != self.info.path {
            let path = self.store_dir.render_path(path);
            return Err(StoreError::Invalid { path });
        }
        Ok(Box::pin(stream::unfold(
            self.nar.clone(),
            async |mut rest| {
                let chunk = rest.split_to(rest.len().min(NAR_CHUNK));
                (!chunk.is_empty()).then_some((Ok(chunk), rest))
            },
        )))
    }

    async fn import(&self, _: &[PathInfo], _: &dyn Store) -> Result<(), StoreError> {
        Err(unsupported("adding a path"))
    }
}

fn unsupported(what: &'static str) -> StoreError {
    StoreError::Unsupported { what }
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt as _;

    use super::*;

    #[tokio::test]
    async fn a_sample_holds_what_it_says() {
        let store_dir = StoreDir::default();
        let sample = Sample::random(&store_dir, 3 * NAR_CHUNK).expect("a sample");
        let nar = sample.read_nar(&sample.info.path).await.expect("its NAR");
        let chunks: Vec<_> = nar.try_collect().await.expect("its NAR");
        assert!(chunks.iter().all(|chunk| chunk.len() <= NAR_CHUNK));
        let nar = chunks.concat();
        assert_eq!(nar.len() as u64, sample.info.nar_size);
        let hash = hash_bytes(HashAlgorithm::Sha256, &nar);
        assert_eq!(hash.digest_as_bytes(), sample.info.nar_hash.0);
    }
}
