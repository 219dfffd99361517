//! Adds paths from NARs. Each is unpacked beside its place, checked, renamed to
//! its place, and then registered along with others in one transaction: a kill
//! at any instant leaves whole valid paths, and garbage.

mod aside;
mod batch;

use std::collections::BTreeSet;
use std::io::Read;

use musher_protocol::types::PathInfo;
use nix_derivation::StorePath;

use self::batch::Batch;
use super::output_locks::{OutputLocks, Wait};
use super::temp_roots::TempRoots;
use super::unpack::Unpacked;
use super::wanted::Wanted;
use super::{LocalError, LocalStore, content, signature};

pub(super) use self::aside::Aside;
pub use super::signature::Signatures;

/// Paths that are registered in one transaction, at most. Each holds a lock,
/// which is an open file, until then.
const BATCH: usize = 64;

/// What is checked of a path beyond its hash, its size and its content address.
#[derive(Debug, Clone, Default)]
pub struct ImportChecks {
    /// Whether somebody must vouch for it.
    pub signatures: Signatures,
    /// Whether a path that is valid is unpacked again, in place of what is
    /// there.
    pub repair: bool,
}

/// What became of a path that was to be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Imported {
    /// It was unpacked.
    Added,
    /// It was valid; its NAR was not read.
    WasValid,
}

/// Adds paths one after the other and registers them in batches. What was added
/// last is valid only after [`Importer::finish`]; dropped before, it is garbage.
pub struct Importer<'a> {
    store: &'a LocalStore,
    checks: ImportChecks,
    wanted: Wanted,
    batch: Batch,
    /// Nobody collects what was added, nor what it needs, while we are at it.
    roots: TempRoots,
}

impl LocalStore {
    /// Adds one path whose NAR `nar` has, up to its end. What it refers to must
    /// be valid. Afterwards it is a collector's prey unless the caller added it
    /// to [`TempRoots`] of theirs before.
    pub fn import(
        &self,
        info: &PathInfo,
        nar: &mut dyn Read,
        checks: ImportChecks,
    ) -> Result<Imported, LocalError> {
        let mut importer = self.importer(checks)?.one_by_one();
        let imported = importer.add(info, nar)?;
        importer.finish()?;
        Ok(imported)
    }

    /// Adds many paths, with few transactions.
    pub fn importer(&self, checks: ImportChecks) -> Result<Importer<'_>, LocalError> {
        self.writable("import paths")?;
        Ok(Importer {
            store: self,
            checks,
            wanted: Wanted::default(),
            batch: Batch::new(&self.registrar, BATCH),
            roots: self.temp_roots()?,
        })
    }
}

impl Importer<'_> {
    /// Gives up waiting for somebody else's lock once the work is not wanted any
    /// more.
    #[must_use]
    pub fn while_wanted(mut self, wanted: Wanted) -> Self {
        self.wanted = wanted;
        self
    }

    /// Registers each path as soon as it is in its place.
    #[must_use]
    pub fn one_by_one(mut self) -> Self {
        self.batch = Batch::new(&self.store.registrar, 1);
        self
    }

    /// Adds one path whose NAR `nar` has, up to its end. What it refers to must
    /// be valid, or have been added before.
    pub fn add(&mut self, info: &PathInfo, nar: &mut dyn Read) -> Result<Imported, LocalError> {
        let store = self.store;
        let layout = &store.layout;
        signature::check(&self.checks.signatures, &layout.store_dir, info)?;
        content::check_claim(&layout.store_dir, info)?;
        if self.batch.contains(&info.path)? {
            return Ok(Imported::WasValid);
        }
        self.roots.add(&info.path)?;
        if !self.checks.repair && store.is_valid(&info.path)? {
            return Ok(Imported::WasValid);
        }
        self.check_references(info)?;
        let lock = self.lock(&info.path)?;
        if !self.checks.repair && store.is_valid(&info.path)? {
            return Ok(Imported::WasValid);
        }

        let aside = Aside::new(store, &info.path)?;
        let unpacked = aside.unpack(&layout.render(&info.path), info.nar_size, nar)?;
        check_nar(store, info, unpacked)?;
        content::check(&layout.store_dir, info, &aside.path)?;
        aside.move_to(&info.path)?;

        self.batch.push(info.clone(), lock)?;
        Ok(Imported::Added)
    }

    /// Registers what was added so far.
    pub fn register(&mut self) -> Result<(), LocalError> {
        self.batch.register()
    }

    /// Registers the rest.
    pub fn finish(mut self) -> Result<(), LocalError> {
        self.register()
    }

    /// Locks a path. Nobody waits for us while we wait, so that two who add the
    /// same paths in different orders do not wait for each other.
    fn lock(&mut self, path: &StorePath) -> Result<OutputLocks, LocalError> {
        let paths = BTreeSet::from([path.clone()]);
        if let Some(lock) = self.store.lock_outputs(&paths, Wait::No)? {
            return Ok(lock);
        }
        self.register()?;
        let lock = self
            .store
            .lock_outputs(&paths, Wait::WhileWanted(&self.wanted))?;
        Ok(lock.unwrap_or_default())
    }

    fn check_references(&self, info: &PathInfo) -> Result<(), LocalError> {
        let session = self.store.database.session()?;
        for reference in &info.references {
            // In this order: what is not in the batch any more is registered.
            let known = *reference == info.path || self.batch.contains(reference)?;
            if !known && session.path_id(reference)?.is_none() {
                return Err(LocalError::NoReference {
                    path: self.store.layout.render(&info.path),
                    reference: self.store.layout.render(reference),
                });
            }
        }
        Ok(())
    }
}

/// Whether the NAR is the one that `info` speaks of.
fn check_nar(store: &LocalStore, info: &PathInfo, found: Unpacked) -> Result<(), LocalError> {
    let path = || store.layout.render(&info.path);
    if found.hash != info.nar_hash {
        return Err(LocalError::OtherHash {
            path: path(),
            expected: info.nar_hash.to_string(),
            found: found.hash.to_string(),
        });
    }
    if found.size != info.nar_size {
        return Err(LocalError::OtherSize {
            path: path(),
            expected: info.nar_size,
            found: found.size,
        });
    }
    Ok(())
}
