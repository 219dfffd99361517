//! Derivations of the home store, and which of their outputs are valid there.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::StreamExt;
use musher_store::{StoreError, Substitute};
use nix_archive::nar::{Entry, decode};
use nix_derivation::{Derivation, StorePath};

use super::{Home, KeptPaths};

/// The longest derivation that is read, in bytes of its NAR.
const LONGEST: usize = 64 << 20;

/// Why a derivation could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DerivationError {
    /// The path is not called like one.
    #[error("`{path}` is not called like a derivation")]
    Name {
        /// The path, absolute.
        path: String,
    },
    /// The home store does not give it.
    #[error("cannot read `{path}` from the home store")]
    Read {
        /// The path, absolute.
        path: String,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// It is not one file of a bearable length.
    #[error("`{path}` is no derivation: it is not one file of at most {LONGEST} bytes")]
    Form {
        /// The path, absolute.
        path: String,
    },
    /// Its text is none of a derivation.
    #[error("cannot parse `{path}`")]
    Parse {
        /// The path, absolute.
        path: String,
        /// What is wrong.
        #[source]
        source: nix_derivation::Error,
    },
}

impl Home {
    /// The derivation at `drv_path`.
    pub(crate) async fn derivation(
        &self,
        drv_path: &StorePath,
    ) -> Result<Derivation, DerivationError> {
        let path = || self.store_dir().render_path(drv_path);
        let name = drv_path.name().strip_suffix(".drv");
        let name = name.ok_or_else(|| DerivationError::Name { path: path() })?;
        let failed = |source| DerivationError::Read {
            path: path(),
            source,
        };
        let mut chunks = self.store().read_nar(drv_path).await.map_err(failed)?;
        let mut nar = Vec::new();
        while let Some(chunk) = chunks.next().await {
            nar.extend_from_slice(&chunk.map_err(failed)?);
            if nar.len() > LONGEST {
                return Err(DerivationError::Form { path: path() });
            }
        }
        let entries = decode(&nar).unwrap_or_default();
        let [Entry::Regular { contents, .. }] = entries.as_slice() else {
            return Err(DerivationError::Form { path: path() });
        };
        let derivation = Derivation::from_aterm_bytes_in(contents, name, self.store_dir().clone());
        derivation.map_err(|source| DerivationError::Parse {
            path: path(),
            source,
        })
    }

    /// Those of the outputs of some derivations that are valid, in one
    /// question. One whose path nobody knew before it was built is looked up by
    /// what it was realised to. What is valid is `kept`.
    pub(crate) async fn look_for(
        &self,
        mut outputs: BTreeMap<StorePath, BTreeMap<String, Option<StorePath>>>,
        substitute: Substitute,
        kept: &KeptPaths,
    ) -> Result<Vec<(StorePath, BTreeMap<String, StorePath>)>, StoreError> {
        let mut unforeseen: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for (drv, outputs) in &outputs {
            for (name, _) in outputs.iter().filter(|(_, path)| path.is_none()) {
                let names = unforeseen.entry(drv.clone()).or_default();
                names.insert(name.clone());
            }
        }
        for (drv, paths) in self.realisations(unforeseen).await? {
            let outputs = outputs.entry(drv).or_default();
            outputs.extend(paths.into_iter().map(|(name, path)| (name, Some(path))));
        }
        let paths = outputs.values().flat_map(BTreeMap::values).flatten();
        let paths: BTreeSet<_> = paths.cloned().collect();
        // In this order: what is valid then stays so.
        kept.add(&paths).await;
        let valid = match paths.is_empty() {
            true => BTreeSet::new(),
            false => self.store().valid_paths(&paths, substitute).await?,
        };
        let found = outputs.into_iter().map(|(drv, outputs)| {
            let outputs = outputs.into_iter();
            let outputs = outputs.filter_map(|(name, path)| Some((name, path?)));
            (
                drv,
                outputs.filter(|(_, path)| valid.contains(path)).collect(),
            )
        });
        Ok(found.collect())
    }
}
