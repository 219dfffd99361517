//! What keeps paths of a store: links below `gcroots` and `profiles`, and the
//! lists of paths in use.

use std::fs::{self, DirEntry, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix_derivation::StorePath;

use super::super::LocalError;
use super::super::flock::{Hold, try_lock_file};
use super::super::layout::Layout;

/// How deep directories of roots are looked into.
const DEPTH: usize = 64;

/// Something that keeps a path, and so all that it needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Root {
    /// The path it keeps.
    pub path: StorePath,
    /// The link that keeps it, or the file in `/proc` of a program that uses it;
    /// none for a path in use.
    pub link: Option<PathBuf>,
}

/// The roots that links make. Links to links that are gone are deleted if
/// `tidy`.
pub(super) fn permanent(layout: &Layout, tidy: bool) -> Result<Vec<Root>, LocalError> {
    let mut search = Search {
        layout,
        tidy,
        roots: Vec::new(),
    };
    for dir in [layout.gc_roots(), layout.profiles()] {
        search.dir(&dir, DEPTH)?;
    }
    Ok(search.roots)
}

struct Search<'a> {
    layout: &'a Layout,
    tidy: bool,
    roots: Vec<Root>,
}

impl Search<'_> {
    fn dir(&mut self, dir: &Path, depth: usize) -> Result<(), LocalError> {
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if is_no_matter(&error) => return Ok(()),
            Err(error) => return Err(LocalError::io("look for roots in", dir)(error)),
        };
        for entry in entries {
            let entry = entry.map_err(LocalError::io("look for roots in", dir))?;
            match self.entry(&entry, depth) {
                Ok(()) => {}
                Err(error) if is_no_matter(&error) => {}
                Err(error) => return Err(LocalError::io("look at the root", &entry.path())(error)),
            }
        }
        Ok(())
    }

    fn entry(&mut self, entry: &DirEntry, depth: usize) -> io::Result<()> {
        let (kind, path) = (entry.file_type()?, entry.path());
        if kind.is_dir() {
            return match depth.checked_sub(1) {
                Some(depth) => self.dir(&path, depth).map_err(io::Error::other),
                None => Ok(()),
            };
        }
        if kind.is_symlink() {
            return self.link(path);
        }
        // Lists of generations are kept as empty files named as their path.
        if let Ok(kept) = StorePath::from_basename(entry.file_name().as_bytes()) {
            self.found(kept, path);
        }
        Ok(())
    }

    /// A link into the store, or to a link into the store.
    fn link(&mut self, link: PathBuf) -> io::Result<()> {
        let target = fs::read_link(&link)?;
        if let Some(kept) = self.in_store(&target) {
            self.found(kept, link);
            return Ok(());
        }
        let target = link.parent().unwrap_or(Path::new("/")).join(target);
        match fs::read_link(&target) {
            Ok(second) => {
                if let Some(kept) = self.in_store(&second) {
                    self.found(kept, target);
                }
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let automatic = link.starts_with(self.layout.gc_roots().join("auto"));
                match automatic && self.tidy {
                    true => fs::remove_file(&link),
                    false => Ok(()),
                }
            }
            // Something else than a link.
            Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn found(&mut self, path: StorePath, link: PathBuf) {
        self.roots.push(Root {
            path,
            link: Some(link),
        });
    }

    /// The path that `target` is or lies in, as paths are called or where they
    /// lie: links to what was built must lead there to be of use.
    fn in_store(&self, target: &Path) -> Option<StorePath> {
        let inside = target
            .strip_prefix(self.layout.store_dir.as_str())
            .or_else(|_| target.strip_prefix(&self.layout.store))
            .ok()?;
        let name = inside.components().next()?;
        StorePath::from_basename(name.as_os_str().as_bytes()).ok()
    }
}

/// Whether it is no matter that a root cannot be looked at: it went away, or
/// belongs to somebody who hides it.
fn is_no_matter(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::PermissionDenied
    )
}

/// The paths that running processes use. What killed ones left is deleted if
/// `tidy`.
pub(super) fn temporary(layout: &Layout, tidy: bool) -> Result<Vec<Root>, LocalError> {
    let dir = layout.temp_roots();
    let entries = fs::read_dir(&dir).map_err(LocalError::io("list", &dir))?;
    let mut roots = Vec::new();
    for entry in entries {
        let entry = entry.map_err(LocalError::io("list", &dir))?;
        if entry.file_name().as_bytes().starts_with(b".") {
            continue;
        }
        let file = entry.path();
        let Some(text) = read_in_use(&file, tidy)? else {
            continue;
        };
        // The last one may be half written; whoever writes it waits for us.
        let ended = text.iter().rposition(|byte| *byte == 0).unwrap_or(0);
        for path in text[..ended].split(|byte| *byte == 0) {
            if let Ok(path) = layout.store_dir.parse_path(path) {
                roots.push(Root { path, link: None });
            }
        }
    }
    Ok(roots)
}

/// The text of a list of paths in use; none if nobody holds it any more.
fn read_in_use(path: &Path, tidy: bool) -> Result<Option<Vec<u8>>, LocalError> {
    let mut file = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LocalError::io("open", path)(error)),
    };
    if try_lock_file(&file, path, Hold::Exclusive)? {
        if tidy {
            let _ = fs::remove_file(path);
            // Whoever waits for it knows by this that it is gone.
            let _ = file.write_all(b"d");
        }
        return Ok(None);
    }
    let mut text = Vec::new();
    file.read_to_end(&mut text)
        .map_err(LocalError::io("read", path))?;
    Ok(Some(text))
}
