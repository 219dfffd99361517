//! Replaces files with equal contents by hard links to one file, kept in
//! `.links` under its hash, as Nix does it.

use std::ffi::OsString;
use std::fs::{self, Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use nix_archive::nar::{CaseHack, hash_path};
use nix_derivation::{StorePath, nixbase32};
use rustix::fs::{AtFlags, CWD, utimensat};

use super::unpack::STORE_TIME;
use super::{LocalError, LocalStore};

static NEXT: AtomicU64 = AtomicU64::new(0);

/// What optimising saved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OptimiseReport {
    /// Files that are links now and were not.
    pub linked: u64,
    /// Bytes of their contents.
    pub saved: u64,
}

impl LocalStore {
    /// Shares equal files of all valid paths. `progress` is called after each
    /// path with how many are done, and how many there are.
    pub fn optimise(
        &self,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<OptimiseReport, LocalError> {
        self.writable("share files")?;
        let roots = self.temp_roots()?;
        let paths = self.all_valid_paths()?;
        let mut report = OptimiseReport::default();
        for (done, path) in paths.iter().enumerate() {
            roots.add(path)?;
            // A collector may have been faster.
            if self.is_valid(path)? {
                self.optimise_path(path, &mut report)?;
            }
            progress(done + 1, paths.len());
        }
        Ok(report)
    }

    /// Shares the files of one valid path with those of others.
    pub fn optimise_path(
        &self,
        path: &StorePath,
        report: &mut OptimiseReport,
    ) -> Result<(), LocalError> {
        let place = self.real_path(path);
        let sharing = Sharing {
            store: &self.layout.store,
            links: self.layout.links(),
        };
        sharing.tree(&place, report)
    }
}

struct Sharing<'a> {
    store: &'a Path,
    links: PathBuf,
}

impl Sharing<'_> {
    fn tree(&self, path: &Path, report: &mut OptimiseReport) -> Result<(), LocalError> {
        let found = fs::symlink_metadata(path).map_err(LocalError::io("look at", path))?;
        if found.is_dir() {
            for entry in fs::read_dir(path).map_err(LocalError::io("list", path))? {
                let entry = entry.map_err(LocalError::io("list", path))?;
                self.tree(&entry.path(), report)?;
            }
            return Ok(());
        }
        // A file that can be written may have been.
        let sharable = found.is_symlink() || (found.is_file() && found.mode() & 0o222 == 0);
        if sharable && found.len() > 0 && self.file(path, &found)? {
            report.linked += 1;
            report.saved += found.len();
        }
        Ok(())
    }

    /// Makes the file at `path` a link to the one of equal contents. Whether it
    /// was not one before.
    fn file(&self, path: &Path, found: &Metadata) -> Result<bool, LocalError> {
        let failed = LocalError::io("share", path);
        // The NAR's, so that the executable bit tells files apart.
        let hash = hash_path(path, CaseHack::native()).map_err(|source| LocalError::Pack {
            path: path.display().to_string(),
            source,
        })?;
        let link = self.links.join(nixbase32::encode(&hash.sha256));
        match fs::hard_link(path, &link) {
            // It is the first of its kind.
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) if is_no_matter(&error) => return Ok(false),
            Err(error) => return Err(failed(error)),
        }
        let shared = match fs::symlink_metadata(&link) {
            Ok(shared) => shared,
            // A collector has just deleted it.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed(error)),
        };
        if shared.ino() == found.ino() {
            return Ok(false);
        }
        if shared.len() != found.len() {
            // Somebody wrote into it: no more files shall become it.
            fs::remove_file(&link).map_err(failed)?;
            return Ok(false);
        }
        self.replace(path, &link).map_err(failed)
    }

    /// Puts a link to `link` in place of the file at `path`.
    fn replace(&self, path: &Path, link: &Path) -> io::Result<bool> {
        let parent = path.parent().unwrap_or(self.store);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = OsString::from(format!(".tmp-link-{}-{number}", process::id()));
        let aside = self.store.join(name);
        match fs::hard_link(link, &aside) {
            Ok(()) => {}
            Err(error) if is_no_matter(&error) => return Ok(false),
            Err(error) => return Err(error),
        }
        let inside = parent != self.store;
        if inside {
            fs::set_permissions(parent, Permissions::from_mode(0o755))?;
        }
        let renamed = fs::rename(&aside, path);
        if inside {
            fs::set_permissions(parent, Permissions::from_mode(0o555))?;
            utimensat(CWD, parent, &STORE_TIME, AtFlags::empty())?;
        }
        match renamed {
            Ok(()) => Ok(true),
            Err(error) => {
                let _ = fs::remove_file(&aside);
                match is_no_matter(&error) {
                    true => Ok(false),
                    false => Err(error),
                }
            }
        }
    }
}

/// Whether it is no matter that a file cannot be shared: it has all the links a
/// file can have, the directory of links is full, or a collector was faster.
fn is_no_matter(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::TooManyLinks | ErrorKind::StorageFull | ErrorKind::NotFound
    )
}
