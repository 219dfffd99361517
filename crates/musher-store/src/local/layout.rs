//! Where on disk the parts of a store are. Knows names, not contents.
//!
//! ```text
//! ROOT/nix/store/              the paths; PATH.lock while somebody makes PATH
//! ROOT/nix/store/.links/       hard links to files with equal contents
//! ROOT/nix/var/nix/db/         db.sqlite, schema, big-lock
//! ROOT/nix/var/nix/temproots/  what running processes use
//! ROOT/nix/var/nix/gcroots/    what is to be kept
//! ROOT/nix/var/nix/gc.lock     held by a garbage collector
//! ```

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use nix_derivation::{StoreDir, StorePath};
use rustix::fs::FallocateFlags;

use super::{Access, LocalError, LocalOptions};

/// The version of Nix's layout that we keep to.
pub(super) const SCHEMA: u32 = 10;

/// The space set aside, in bytes, as by Nix (`gc-reserved-space`).
const RESERVED: u64 = 8 << 20;

/// The places of one store.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) store_dir: StoreDir,
    /// The store directory on this host.
    pub(super) store: PathBuf,
    pub(super) state: PathBuf,
}

impl Layout {
    pub(super) fn new(options: &LocalOptions) -> Result<Self, LocalError> {
        let store_dir = options.store_dir.clone();
        let logical = Path::new(store_dir.as_str());
        let root = match &options.root {
            Some(root) => {
                if options.access == Access::ReadWrite {
                    create_dirs(root)?;
                }
                // A home directory may well be a link; below the root none is
                // allowed, as paths would not lie where they say.
                fs::canonicalize(root).map_err(|error| {
                    if error.kind() == ErrorKind::NotFound {
                        return LocalError::NoStore { path: root.clone() };
                    }
                    LocalError::io("find the store's root", root)(error)
                })?
            }
            None => PathBuf::from("/"),
        };
        let store = root.join(below_root(logical));
        let state = match &options.state_dir {
            Some(state) => state.clone(),
            None => {
                let beside = logical.parent().unwrap_or(logical);
                root.join(below_root(beside)).join("var/nix")
            }
        };
        refuse_links(&root, &store)?;
        Ok(Self {
            store_dir,
            store,
            state,
        })
    }

    pub(super) fn real_path(&self, path: &StorePath) -> PathBuf {
        self.store.join(path.to_basename())
    }

    pub(super) fn render(&self, path: &StorePath) -> String {
        self.store_dir.render_path(path)
    }

    pub(super) fn database(&self) -> PathBuf {
        self.state.join("db/db.sqlite")
    }

    pub(super) fn schema(&self) -> PathBuf {
        self.state.join("db/schema")
    }

    pub(super) fn schema_lock(&self) -> PathBuf {
        self.state.join("db/big-lock")
    }

    pub(super) fn temp_roots(&self) -> PathBuf {
        self.state.join("temproots")
    }

    pub(super) fn gc_roots(&self) -> PathBuf {
        self.state.join("gcroots")
    }

    pub(super) fn profiles(&self) -> PathBuf {
        self.state.join("profiles")
    }

    pub(super) fn gc_lock(&self) -> PathBuf {
        self.state.join("gc.lock")
    }

    /// Where a running garbage collector hears of new roots.
    pub(super) fn gc_socket(&self) -> PathBuf {
        self.state.join("gc-socket/socket")
    }

    /// Space that is given up when garbage is collected.
    pub(super) fn reserved(&self) -> PathBuf {
        self.state.join("db/reserved")
    }

    /// When paths were last used: ours, not Nix's.
    pub(super) fn last_use(&self) -> PathBuf {
        self.state.join("musher/last-use.sqlite")
    }

    pub(super) fn links(&self) -> PathBuf {
        self.store.join(".links")
    }

    /// Makes the directories that are missing, as Nix does when it opens a
    /// store.
    pub(super) fn create(&self) -> Result<(), LocalError> {
        for dir in [
            self.links(),
            self.profiles().join("per-user"),
            self.temp_roots(),
            self.state.join("db"),
        ] {
            create_dirs(&dir)?;
        }
        let roots = self.gc_roots();
        if !roots.exists() {
            create_dirs(&roots)?;
            let link = roots.join("profiles");
            // Another process may open the same new store.
            match symlink(self.profiles(), &link) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    return Err(LocalError::io("make the link", &link)(error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        create_dirs(&roots.join("per-user"))
    }

    /// Sets space aside that a collection can give up: on a full disk nothing
    /// could be deleted, as the database could not be changed.
    pub(super) fn reserve(&self) {
        let path = self.reserved();
        let missing = fs::metadata(&path).map_or(true, |found| found.len() != RESERVED);
        if missing && let Ok(file) = File::create(&path) {
            // Without it all goes well until the disk is full.
            let _ = rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, RESERVED);
        }
    }

    /// The version of the layout on disk; none if it was not made yet, or not
    /// to its end.
    pub(super) fn read_schema(&self) -> Result<Option<u32>, LocalError> {
        let path = self.schema();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(LocalError::io("read", &path)(error)),
        };
        if text.is_empty() {
            return Ok(None);
        }
        let version = text.trim().parse();
        version.map(Some).map_err(|_| LocalError::BadSchema {
            path,
            found: text.trim().chars().take(40).collect(),
        })
    }

    /// Says on disk that the database has been made, at once: others may be
    /// about to read it.
    pub(super) fn write_schema(&self) -> Result<(), LocalError> {
        let path = self.schema();
        let write = || -> io::Result<()> {
            let parent = path.parent().unwrap_or(&path);
            let mut file = tempfile::Builder::new()
                .prefix("schema-")
                .permissions(Permissions::from_mode(0o644))
                .tempfile_in(parent)?;
            file.write_all(SCHEMA.to_string().as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            Ok(())
        };
        write().map_err(LocalError::io("write", &path))
    }

    /// Whether files made in the store directory get an ACL.
    pub(super) fn has_default_acl(&self) -> bool {
        let name = "system.posix_acl_default";
        rustix::fs::lgetxattr(&self.store, name, &mut [0_u8; 0][..]).is_ok_and(|size| size > 0)
    }

    /// Has everything on the store's file system written to disk.
    pub(super) fn sync(&self) -> Result<(), LocalError> {
        let sync = || -> io::Result<()> {
            let dir = File::open(&self.store)?;
            Ok(rustix::fs::syncfs(dir)?)
        };
        sync().map_err(LocalError::io("write to disk", &self.store))
    }
}

fn below_root(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

/// Nix's modes for the directories of a store.
fn create_dirs(dir: &Path) -> Result<(), LocalError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(dir)
        .map_err(LocalError::io("make the directory", dir))
}

/// Refuses a store directory that is a link, or below one: what is built there
/// would remember a place that is not its own.
fn refuse_links(root: &Path, store: &Path) -> Result<(), LocalError> {
    for dir in store.ancestors().take_while(|dir| *dir != root) {
        let is_link = fs::symlink_metadata(dir).is_ok_and(|found| found.is_symlink());
        if is_link {
            return Err(LocalError::Link {
                path: dir.to_owned(),
            });
        }
    }
    Ok(())
}
