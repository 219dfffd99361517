//! A place in the store directory where a path is unpacked or written before it
//! has its name.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::fd::AsFd;
use std::path::PathBuf;

use nix_derivation::{StorePath, nixbase32};
use rustix::fs::renameat;

use super::super::canonical::Canonicaliser;
use super::super::delete::delete_at;
use super::super::unpack::{Unpacked, unpack};
use super::super::{LocalError, LocalStore};

/// Where a path is unpacked before it is known to be good. The name begins with
/// the path's hash part: Nix's collector keeps what shares that with a
/// temporary root, and takes what a killed process left.
pub(in crate::local) struct Aside<'a> {
    store: &'a LocalStore,
    name: OsString,
    pub(in crate::local) path: PathBuf,
    /// Whether it is in its place.
    moved: bool,
}

impl<'a> Aside<'a> {
    /// The caller has locked `path`, or made it up, so nobody else uses the same
    /// name; and it is a temporary root.
    pub(in crate::local) fn new(
        store: &'a LocalStore,
        path: &StorePath,
    ) -> Result<Self, LocalError> {
        let name = OsString::from(format!("{}-import.tmp", nixbase32::encode(path.digest())));
        let path = store.layout.store.join(&name);
        let aside = Self {
            store,
            name,
            path,
            moved: false,
        };
        aside.delete(&aside.name)?;
        Ok(aside)
    }

    /// Unpacks a NAR there, which is called `path` if it cannot be, and should
    /// be `size` bytes long.
    pub(in crate::local) fn unpack(
        &self,
        path: &str,
        size: u64,
        nar: &mut dyn Read,
    ) -> Result<Unpacked, LocalError> {
        let unpacked = unpack(nar, size, self.store.dir.as_fd(), &self.name);
        let unpacked = unpacked.map_err(|source| LocalError::Unpack {
            path: path.to_owned(),
            source,
        })?;
        if !unpacked.canonical || self.store.inherits_acl {
            let canonical = Canonicaliser::new().canonicalise(&self.path);
            canonical.map_err(LocalError::Canonical)?;
        }
        Ok(unpacked)
    }

    /// Puts what was unpacked in the place of `path`, and deletes what is there:
    /// nothing valid, unless it is to be repaired.
    pub(in crate::local) fn move_to(mut self, path: &StorePath) -> Result<(), LocalError> {
        let name = OsString::from(path.to_basename());
        self.delete(&name)?;
        let dir = &self.store.dir;
        renameat(dir, &self.name, dir, &name).map_err(|errno| {
            let place = self.store.layout.real_path(path);
            LocalError::io("rename to", &place)(errno.into())
        })?;
        self.moved = true;
        Ok(())
    }

    fn delete(&self, name: &OsStr) -> Result<(), LocalError> {
        match delete_at(self.store.dir.as_fd(), name) {
            Ok(_) => Ok(()),
            Err(errno) => {
                let path = self.store.layout.store.join(name);
                Err(LocalError::io("delete", &path)(errno.into()))
            }
        }
    }
}

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        if !self.moved {
            // What stays is deleted by the next one to come, or collected.
            let _ = delete_at(self.store.dir.as_fd(), &self.name);
        }
    }
}
