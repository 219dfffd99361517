//! Paths in use, told to every garbage collector of the store. Nix has one list
//! of them a process; here the holders of one open store share one, in which a
//! path stays while any of them uses it.

mod in_use;
mod list;

use std::collections::BTreeSet;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use nix_derivation::StorePath;

use super::LocalError;

use self::in_use::Use;

pub(super) use self::in_use::InUse;

/// Paths that are not collected until this is dropped.
#[derive(Debug)]
pub struct TempRoots(Option<Holder>);

#[derive(Debug)]
struct Holder {
    in_use: Arc<InUse>,
    uses: Mutex<BTreeSet<Use>>,
}

impl TempRoots {
    /// For a store that nobody collects through us.
    pub(super) fn unneeded() -> Self {
        Self(None)
    }

    pub(super) fn new(in_use: &Arc<InUse>) -> Result<Self, LocalError> {
        in_use.prepare()?;
        Ok(Self(Some(Holder {
            in_use: Arc::clone(in_use),
            uses: Mutex::default(),
        })))
    }

    /// Adds one path. When this returns, no collector takes it any more if it
    /// was valid or is made from now on.
    pub fn add(&self, path: &StorePath) -> Result<(), LocalError> {
        self.add_all([path])
    }

    /// Adds paths, or, after an error, none of them.
    pub fn add_all<'a>(
        &self,
        paths: impl IntoIterator<Item = &'a StorePath>,
    ) -> Result<(), LocalError> {
        let Some(holder) = &self.0 else {
            return Ok(());
        };
        let uses = holder.uses.lock();
        let mut uses = uses.unwrap_or_else(PoisonError::into_inner);
        let mut paths: Vec<&StorePath> = paths.into_iter().collect();
        holder.in_use.note(&paths);
        paths.retain(|path| !uses.contains(*path));
        uses.extend(holder.in_use.add(&paths)?);
        Ok(())
    }
}

impl Drop for Holder {
    #[expect(
        clippy::mutable_key_type,
        reason = "uses are ordered by their paths, which do not change"
    )]
    fn drop(&mut self) {
        let uses = self.uses.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.in_use.release(mem::take(uses));
    }
}
