//! Links what is in one directory into another, where packages before may have
//! theirs.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

use super::super::error::BuiltinError;
use super::super::log::Log;

/// What is in no environment: it is of no use there, or every package has its
/// own.
const LEFT_OUT: [&str; 7] = [
    "/propagated-build-inputs",
    "/nix-support",
    "/perllocal.pod",
    "/info/dir",
    "/log",
    "/manifest.nix",
    "/manifest.json",
];

/// The links made so far.
pub(super) struct Links<'a, 'b> {
    log: &'a mut Log<'b>,
    /// The priority of the package each link leads to.
    priorities: BTreeMap<PathBuf, i64>,
}

impl<'a, 'b> Links<'a, 'b> {
    pub(super) fn new(log: &'a mut Log<'b>) -> Self {
        Self {
            log,
            priorities: BTreeMap::new(),
        }
    }

    /// Links what is in directory `from`, which is a package's with
    /// `priority`, into directory `to`.
    pub(super) fn add(
        &mut self,
        from: &Path,
        to: &Path,
        priority: i64,
    ) -> Result<(), BuiltinError> {
        let failed = BuiltinError::file("list", from);
        let entries = match fs::read_dir(from) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                self.log.warn(&format!(
                    "not including '{}' in the user environment because it's not a directory",
                    from.display()
                ));
                return Ok(());
            }
            Err(source) => return Err(failed(source)),
        };
        let names = entries.map(|entry| entry.map(|entry| entry.file_name()));
        let mut names = names.collect::<io::Result<Vec<_>>>().map_err(failed)?;
        names.sort();
        for name in names {
            if name.as_bytes().starts_with(b".") {
                continue;
            }
            self.entry(&from.join(&name), &to.join(&name), priority)?;
        }
        Ok(())
    }

    fn entry(&mut self, from: &Path, to: &Path, priority: i64) -> Result<(), BuiltinError> {
        let found = match fs::metadata(from) {
            Ok(found) => found,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                self.log
                    .warn(&format!("skipping dangling symlink '{}'", to.display()));
                return Ok(());
            }
            Err(source) => return Err(BuiltinError::file("look at", from)(source)),
        };
        let bytes = from.as_os_str().as_bytes();
        if LEFT_OUT.iter().any(|end| bytes.ends_with(end.as_bytes())) {
            return Ok(());
        }
        let before = present(to)?;
        let done = if found.is_dir() {
            self.directory(from, to, priority, before)?
        } else {
            self.file(from, to, priority, before)?
        };
        if !done {
            symlink(from, to).map_err(BuiltinError::file("create", to))?;
            self.priorities.insert(to.to_owned(), priority);
        }
        Ok(())
    }

    /// True if nothing is left to be linked.
    fn directory(
        &mut self,
        from: &Path,
        to: &Path,
        priority: i64,
        before: Option<Metadata>,
    ) -> Result<bool, BuiltinError> {
        let Some(before) = before else {
            return Ok(false);
        };
        if before.is_symlink() {
            // Another package has the directory too: link its entries instead.
            let target = fs::canonicalize(to).map_err(BuiltinError::file("resolve", to))?;
            if !target.is_dir() {
                return Err(BuiltinError::NotDirectory {
                    directory: from.to_owned(),
                    other: target,
                });
            }
            fs::remove_file(to).map_err(BuiltinError::file("remove", to))?;
            let made = DirBuilder::new().mode(0o755).create(to);
            made.map_err(BuiltinError::file("create", to))?;
            let its_priority = self.priorities.get(to).copied().unwrap_or_default();
            self.add(&target, to, its_priority)?;
        }
        self.add(from, to, priority)?;
        Ok(true)
    }

    /// True if nothing is left to be linked.
    fn file(
        &mut self,
        from: &Path,
        to: &Path,
        priority: i64,
        before: Option<Metadata>,
    ) -> Result<bool, BuiltinError> {
        let Some(before) = before else {
            return Ok(false);
        };
        if before.is_dir() {
            return Err(BuiltinError::NotFile {
                file: from.to_owned(),
                directory: to.to_owned(),
            });
        }
        let its_priority = self.priorities.get(to).copied().unwrap_or_default();
        if its_priority == priority {
            let first = fs::read_link(to).map_err(BuiltinError::file("read", to))?;
            return Err(BuiltinError::Conflict {
                first,
                second: from.to_owned(),
                priority,
            });
        }
        if its_priority < priority {
            return Ok(true);
        }
        fs::remove_file(to).map_err(BuiltinError::file("remove", to))?;
        Ok(false)
    }
}

/// What is at `path`, if anything is.
fn present(path: &Path) -> Result<Option<Metadata>, BuiltinError> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(BuiltinError::file("look at", path)(source)),
    }
}
