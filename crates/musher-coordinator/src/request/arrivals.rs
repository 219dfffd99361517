//! NARs on their way home, held against what was said of them: their length,
//! their hash, and what they refer to. The last piece of one is kept back until
//! all of it was seen, so that nothing false is ever complete. Takes note of the
//! paths that are not what they should be.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use musher_protocol::types::{NarHash, PathInfo};
use musher_store::{NarStream, Store, StoreError, StoreInfo, Substitute};
use nix_archive::nar::{ReferencePattern, ReferenceScanner};
use nix_derivation::{StoreDir, StorePath, nixbase32};
use sha2::{Digest, Sha256};
use tracing::warn;

use crate::held_inputs::{HeldInput, HeldInputs};
use crate::home::HomeError;
use crate::sources::Sources;

/// Paths that came and are not what was said.
type False = Arc<Mutex<BTreeSet<StorePath>>>;

/// What lies on machines, and is looked at as it is read.
pub(super) struct Arrivals {
    sources: Sources,
    /// All that lies on machines and may be referred to.
    held: HeldInputs,
    /// Whether hashes are left to the home store, whose errors tell them apart.
    hashed_at_home: bool,
    found_false: False,
}

impl Arrivals {
    pub(super) fn new(sources: Sources, held: HeldInputs) -> Self {
        let hashed_at_home = sources.home().is_own();
        Self {
            sources,
            held,
            hashed_at_home,
            found_false: False::default(),
        }
    }

    /// The paths that could not be read from where they lie, or are not there
    /// what they should be, so far.
    pub(super) fn lost(&self) -> BTreeSet<StorePath> {
        let mut lost = self.sources.lost();
        let found_false = self.found_false.lock();
        lost.extend(found_false.unwrap_or_else(PoisonError::into_inner).clone());
        lost
    }

    /// What `held` may refer to.
    async fn candidates(&self, held: &HeldInput) -> Result<BTreeSet<StorePath>, StoreError> {
        if held.scope.undisclosed.contains(&held.info.path) {
            return Ok(held.info.references.clone());
        }
        let inputs = held.scope.inputs.iter().cloned();
        let closure = self.sources.home().closure_with(inputs, &self.held).await;
        let closure = closure.map_err(HomeError::into_store_error)?;
        let mut candidates: BTreeSet<_> = closure.paths().cloned().collect();
        candidates.extend(held.scope.outputs.iter().cloned());
        Ok(candidates)
    }
}

#[async_trait]
impl Store for Arrivals {
    fn store_dir(&self) -> &StoreDir {
        self.sources.store_dir()
    }

    async fn ping(&self) -> Result<StoreInfo, StoreError> {
        self.sources.ping().await
    }

    async fn valid_paths(
        &self,
        paths: &BTreeSet<StorePath>,
        substitute: Substitute,
    ) -> Result<BTreeSet<StorePath>, StoreError> {
        self.sources.valid_paths(paths, substitute).await
    }

    async fn path_infos(&self, paths: &[StorePath]) -> Result<Vec<PathInfo>, StoreError> {
        self.sources.path_infos(paths).await
    }

    async fn read_nar(&self, path: &StorePath) -> Result<NarStream, StoreError> {
        let Some(held) = self.held.get(path) else {
            return self.sources.read_nar(path).await;
        };
        let candidates = self.candidates(held).await?;
        let arrival = Arrival {
            shown: self.store_dir().render_path(path),
            look: Look::new(held.info.clone(), candidates, !self.hashed_at_home),
            nar: self.sources.read_nar(path).await?,
            kept_back: None,
            found_false: self.found_false.clone(),
        };
        Ok(Box::pin(stream::unfold(Some(arrival), Arrival::next)))
    }

    async fn import(&self, _: &[PathInfo], _: &dyn Store) -> Result<(), StoreError> {
        Err(StoreError::Unsupported { what: "an import" })
    }
}

/// A NAR on its way.
struct Arrival {
    shown: String,
    look: Look,
    nar: NarStream,
    kept_back: Option<Bytes>,
    found_false: False,
}

impl Arrival {
    /// The next piece, and the rest of the way if there is any.
    async fn next(arrival: Option<Self>) -> Option<(Result<Bytes, StoreError>, Option<Self>)> {
        let mut arrival = arrival?;
        loop {
            let seen = match arrival.nar.next().await {
                Some(Ok(chunk)) if chunk.is_empty() => continue,
                Some(Ok(chunk)) => {
                    let seen = arrival.look.at(&chunk);
                    let before = arrival.kept_back.replace(chunk);
                    match (seen, before) {
                        (Ok(()), None) => continue,
                        (Ok(()), Some(before)) => return Some((Ok(before), Some(arrival))),
                        (Err(how), _) => Err(how),
                    }
                }
                Some(Err(error)) => return Some((Err(error), None)),
                None => arrival.look.verdict(),
            };
            return match seen {
                Ok(()) => Some((Ok(arrival.kept_back?), None)),
                Err(how) => Some((Err(arrival.refused(how)), None)),
            };
        }
    }

    /// Takes note that it is not what was said.
    fn refused(self, how: String) -> StoreError {
        let path = self.shown;
        warn!(
            path,
            how, "a machine gave another output than it had described"
        );
        let found_false = self.found_false.lock();
        let mut found_false = found_false.unwrap_or_else(PoisonError::into_inner);
        found_false.insert(self.look.info.path);
        StoreError::OtherNar { path, how }
    }
}

/// What was seen of a NAR so far.
struct Look {
    info: PathInfo,
    candidates: Vec<StorePath>,
    scanner: ReferenceScanner,
    hasher: Option<Sha256>,
    size: u64,
}

impl Look {
    fn new(info: PathInfo, mut candidates: BTreeSet<StorePath>, hashes: bool) -> Self {
        candidates.extend(info.references.iter().cloned());
        let parts = candidates
            .iter()
            .map(|path| nixbase32::encode(path.digest()));
        let pattern = ReferencePattern::new(parts);
        let pattern = pattern.expect("bug: the hash part of a store path is a hash part");
        Self {
            info,
            candidates: candidates.into_iter().collect(),
            scanner: pattern.scanner(),
            hasher: hashes.then(Sha256::new),
            size: 0,
        }
    }

    fn at(&mut self, chunk: &[u8]) -> Result<(), String> {
        self.size += chunk.len() as u64;
        if self.size > self.info.nar_size {
            return Err(format!("it has more than {} bytes", self.info.nar_size));
        }
        self.scanner.scan(chunk);
        if let Some(hasher) = &mut self.hasher {
            hasher.update(chunk);
        }
        Ok(())
    }

    /// Whether the whole is what was said.
    fn verdict(&mut self) -> Result<(), String> {
        let Self { info, size, .. } = self;
        if *size != info.nar_size {
            return Err(format!("it has {size} bytes, not {}", info.nar_size));
        }
        if let Some(hasher) = self.hasher.take() {
            let hash = NarHash(hasher.finalize().into());
            if hash != info.nar_hash {
                return Err(format!("its hash is {hash}, not {}", info.nar_hash));
            }
        }
        let found = self.scanner.matches();
        let found: BTreeSet<_> = found.filter_map(|at| self.candidates.get(at)).collect();
        let said: BTreeSet<_> = info.references.iter().collect();
        if let Some(path) = said.difference(&found).next() {
            return Err(format!("it does not refer to `{path}`"));
        }
        if let Some(path) = found.difference(&said).next() {
            return Err(format!("it refers to `{path}` as well"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use musher_protocol::types::{NarHash, PathInfo};

    use super::Look;
    use crate::testing::{mentioning, path};

    fn verdict(info: PathInfo, nar: &[u8], candidates: &[&str]) -> Result<(), String> {
        let candidates = candidates.iter().map(|name| path(name)).collect();
        let mut look = Look::new(info, candidates, true);
        // In pieces that cut every mention.
        for piece in nar.chunks(7) {
            look.at(piece)?;
        }
        look.verdict()
    }

    #[test]
    fn a_nar_is_what_it_was_said_to_be_or_refused() {
        let (info, nar) = mentioning("app", &["app", "lib"]);
        let seen = ["app", "lib", "libc"];
        verdict(info.clone(), &nar, &seen).expect("true");
        // What the build could not see it cannot refer to.
        let without_lib = PathInfo {
            references: [path("app")].into(),
            ..info.clone()
        };
        verdict(without_lib.clone(), &nar, &["app", "libc"]).expect("true");
        #[track_caller]
        fn refused(info: PathInfo, nar: &[u8], part: &str) {
            let how = verdict(info, nar, &["app", "lib", "libc"]).expect_err("false");
            assert!(how.contains(part), "{how}");
        }
        refused(without_lib, &nar, "-lib` as well");
        let with_libc: BTreeSet<_> = seen.iter().map(|name| path(name)).collect();
        let references = with_libc;
        let with_libc = PathInfo {
            references,
            ..info.clone()
        };
        refused(with_libc, &nar, "does not refer to");
        let other_hash = PathInfo {
            nar_hash: NarHash([7; 32]),
            ..info.clone()
        };
        refused(other_hash, &nar, "its hash is");
        refused(info.clone(), &nar[..40], "it has 40 bytes");
        let longer = [&nar[..], b"more"].concat();
        refused(info, &longer, "more than");
    }
}
