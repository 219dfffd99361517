//! Compares what the database says with what is on disk.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use nix_archive::nar::{self, CaseHack, hash_path};
use nix_derivation::{StorePath, nixbase32};

use super::flock::{Hold, Lock};
use super::{Access, LocalError, LocalStore};

/// How thoroughly to verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VerifyOptions {
    /// Whether every path is read and hashed, rather than only looked for.
    pub contents: bool,
    /// Whether paths whose files are gone are made invalid, where no path that
    /// is still there refers to them, as Nix does.
    pub forget: bool,
}

/// What is wrong with a store.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// A valid path is not on disk.
    #[error("`{path}` is gone")]
    Gone {
        /// The path.
        path: String,
        /// Whether it was made invalid.
        forgotten: bool,
    },
    /// A path's contents are not those that were registered.
    #[error("`{path}` was modified: it should have hash `{expected}`, but has `{found}`")]
    Modified {
        /// The path.
        path: String,
        /// The hash registered.
        expected: String,
        /// The hash found.
        found: String,
    },
    /// A path cannot be read.
    #[error("cannot read `{path}`")]
    Unreadable {
        /// The path.
        path: String,
        /// Why not.
        #[source]
        source: nar::Error,
    },
    /// What the database says of a path makes no sense.
    #[error("the database is damaged")]
    Row(#[source] LocalError),
    /// SQLite finds fault with the database's file.
    #[error("the database's file is damaged: {0}")]
    Database(String),
    /// A file that others share by hard links was modified.
    #[error("`{name}` in `.links` was modified")]
    Link {
        /// Its name, which should be its hash.
        name: String,
    },
}

/// A path that nobody can tell the state of, though nothing may be wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("`{path}` cannot be read by this release")]
pub struct Unverified {
    /// The path.
    pub path: String,
    /// Why not.
    #[source]
    pub source: nar::Error,
}

/// How far verifying is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyProgress {
    /// Paths that have been looked at.
    pub done: usize,
    /// Paths in all.
    pub total: usize,
    /// Bytes that have been hashed.
    pub bytes: u64,
}

/// What verifying found.
#[derive(Debug, Default)]
pub struct VerifyReport {
    /// Paths that were looked at.
    pub paths: usize,
    /// Bytes that were hashed.
    pub bytes: u64,
    /// What was there, and beyond us.
    pub unverified: Vec<Unverified>,
    /// What is wrong. With nothing in it the store is sound.
    pub damages: Vec<Damage>,
}

impl LocalStore {
    /// Verifies the store. `progress` is called after each path.
    pub fn verify(
        &self,
        options: VerifyOptions,
        progress: &mut dyn FnMut(VerifyProgress),
    ) -> Result<VerifyReport, LocalError> {
        let _no_collector = match self.options.access {
            Access::ReadWrite => Some(Lock::wait(&self.layout.gc_lock(), Hold::Shared)?),
            Access::ReadOnly => None,
        };
        let mut report = VerifyReport::default();
        let session = self.database.session()?;
        let faults = session.faults()?;
        report
            .damages
            .extend(faults.into_iter().map(Damage::Database));
        let (paths, bad) = session.readable_paths()?;
        report.damages.extend(bad.into_iter().map(Damage::Row));

        let on_disk = self.on_disk()?;
        let total = paths.len();
        let mut gone = BTreeSet::new();
        for path in paths {
            if on_disk.contains(&path) {
                if options.contents {
                    self.verify_path(&path, &mut report)?;
                }
            } else {
                gone.insert(path);
            }
            report.paths += 1;
            progress(VerifyProgress {
                done: report.paths,
                total,
                bytes: report.bytes,
            });
        }
        let forgotten = match options.forget {
            true => self.forget(&gone)?,
            false => BTreeSet::new(),
        };
        report.damages.extend(gone.iter().map(|path| Damage::Gone {
            path: self.layout.render(path),
            forgotten: forgotten.contains(path),
        }));
        if options.contents {
            self.verify_links(&mut report)?;
        }
        Ok(report)
    }

    /// The names in the store directory that are names of paths.
    fn on_disk(&self) -> Result<BTreeSet<StorePath>, LocalError> {
        let dir = &self.layout.store;
        let failed = LocalError::io("list", dir);
        let mut paths = BTreeSet::new();
        for entry in fs::read_dir(dir).map_err(&failed)? {
            let name = entry.map_err(&failed)?.file_name();
            paths.extend(StorePath::from_basename(name.as_bytes()).ok());
        }
        Ok(paths)
    }

    fn verify_path(&self, path: &StorePath, report: &mut VerifyReport) -> Result<(), LocalError> {
        let info = match self.path_info(path) {
            Ok(Some(info)) => info,
            // It was deleted meanwhile.
            Ok(None) => return Ok(()),
            Err(error @ LocalError::BadRow { .. }) => {
                report.damages.push(Damage::Row(error));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let path = || self.layout.render(&info.path);
        match hash_path(&self.real_path(&info.path), CaseHack::native()) {
            Ok(found) => {
                report.bytes += found.size;
                if found.sha256 != info.nar_hash.0 {
                    report.damages.push(Damage::Modified {
                        path: path(),
                        expected: info.nar_hash.to_string(),
                        found: musher_protocol::types::NarHash(found.sha256).to_string(),
                    });
                }
            }
            Err(source @ nar::Error::MaxDepth(_)) => report.unverified.push(Unverified {
                path: path(),
                source,
            }),
            Err(source) => report.damages.push(Damage::Unreadable {
                path: path(),
                source,
            }),
        }
        Ok(())
    }

    /// Makes paths invalid whose files are gone, users before what they use.
    /// Returns those that nothing is left to refer to.
    fn forget(&self, gone: &BTreeSet<StorePath>) -> Result<BTreeSet<StorePath>, LocalError> {
        self.writable("forget paths that are gone")?;
        let session = self.database.session()?;
        let mut infos = Vec::with_capacity(gone.len());
        for path in gone {
            infos.extend(session.path_info(path)?);
        }
        let mut ordered = crate::references_first(infos);
        ordered.reverse();
        let paths: Vec<&StorePath> = ordered.iter().map(|info| &info.path).collect();
        Ok(session.invalidate(&paths)?.into_iter().collect())
    }

    /// The files that others share are named by their hash.
    fn verify_links(&self, report: &mut VerifyReport) -> Result<(), LocalError> {
        let dir = self.layout.links();
        let Ok(entries) = fs::read_dir(&dir) else {
            return Ok(());
        };
        for entry in entries {
            let entry = entry.map_err(LocalError::io("list", &dir))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let found = hash_path(&entry.path(), CaseHack::native());
            let found = found.ok().map(|found| nixbase32::encode(&found.sha256));
            if found.as_ref() != Some(&name) {
                report.damages.push(Damage::Link { name });
            }
        }
        Ok(())
    }
}
