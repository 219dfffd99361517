//! A store on this host's disk, laid out and registered as Nix does it, so
//! that either finds in it what the other put there. Knows no protocol; every
//! call blocks, and may be made from any thread.

mod add;
mod canonical;
mod content;
mod database;
mod delete;
mod drv_hashes;
mod error;
mod flock;
mod gc;
mod hashing;
mod import;
mod indirect_root;
mod last_use;
mod layout;
mod modulo_hasher;
mod optimise;
mod options;
mod output_locks;
mod read;
mod realisation;
mod registrar;
mod signature;
mod temp_roots;
mod unpack;
mod verify;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use musher_protocol::types::PathInfo;
use nix_derivation::{Derivation, StoreDir, StorePath};

use self::database::Database;
use self::flock::{Hold, Lock};
use self::last_use::LastUse;
use self::layout::Layout;
use self::registrar::Registrar;
use self::temp_roots::InUse;

pub(crate) use self::indirect_root::replace_link;

pub use nix_narinfo::TrustedPublicKey;

pub use add::{Dump, NewPath};
pub use canonical::{CanonicalError, Canonicaliser};
pub use error::{ErrorClass, LocalError};
pub use gc::{Budget, Garbage, GcOptions, GcReport, Root};
pub use import::{ImportChecks, Imported, Importer, Signatures};
pub use modulo_hasher::ModuloHasher;
pub use optimise::OptimiseReport;
pub use options::{Access, Durability, LocalOptions};
pub use output_locks::{OutputLocks, Wait};
pub use read::NarReader;
pub use realisation::{RealisationKey, StoredRealisation};
pub use temp_roots::TempRoots;
pub use verify::{Damage, Unverified, VerifyOptions, VerifyProgress, VerifyReport};
pub use wanted::{Wanted, Wanter};

/// A store on this host's disk.
///
/// Cheap to share: every method takes `&self`, and queries of several threads
/// run side by side.
pub struct LocalStore {
    layout: Layout,
    options: LocalOptions,
    database: Arc<Database>,
    registrar: Arc<Registrar>,
    /// The store directory, so that nothing in it is looked for from `/` on.
    dir: File,
    last_use: Arc<LastUse>,
    in_use: Arc<InUse>,
    /// Whether new files get more than their modes say from an ACL of the store
    /// directory.
    inherits_acl: bool,
    /// Held as long as the store is open: nobody may change the schema.
    _schema_lock: Option<Lock>,
}

impl LocalStore {
    /// Opens the store that `options` say, and makes it if there is none yet
    /// (unless it is to be read only).
    pub fn open(options: LocalOptions) -> Result<Self, LocalError> {
        let layout = Layout::new(&options)?;
        let schema_lock = match options.access {
            Access::ReadWrite => {
                layout.create()?;
                layout.reserve();
                Some(Lock::wait(&layout.schema_lock(), Hold::Shared)?)
            }
            Access::ReadOnly => None,
        };
        let database = Database::open(&layout, options.access, options.durability)?;
        let database = Arc::new(database);
        let registrar = Arc::new(Registrar {
            database: Arc::clone(&database),
            layout: layout.clone(),
            durability: options.durability,
        });
        let inherits_acl = layout.has_default_acl();
        let dir = File::open(&layout.store);
        let dir = dir.map_err(LocalError::io("open", &layout.store))?;
        let last_use = Arc::new(LastUse::new(&layout));
        let in_use = Arc::new(InUse::new(&layout, &last_use));
        Ok(Self {
            dir,
            last_use,
            in_use,
            layout,
            options,
            database,
            registrar,
            inherits_acl,
            _schema_lock: schema_lock,
        })
    }

    /// The store directory that paths begin with, wherever they lie on disk.
    pub fn store_dir(&self) -> &StoreDir {
        &self.layout.store_dir
    }

    /// Where the store directory lies on this host.
    pub fn real_store_dir(&self) -> &Path {
        &self.layout.store
    }

    /// Where Nix keeps a store's state: the database, locks and roots.
    pub fn state_dir(&self) -> &Path {
        &self.layout.state
    }

    /// Where `path` lies on this host, or would.
    pub fn real_path(&self, path: &StorePath) -> PathBuf {
        self.layout.real_path(path)
    }

    /// Those of `paths` that are valid.
    pub fn valid_paths(
        &self,
        paths: &BTreeSet<StorePath>,
    ) -> Result<BTreeSet<StorePath>, LocalError> {
        let session = self.database.session()?;
        let mut valid = BTreeSet::new();
        for path in paths {
            if session.path_id(path)?.is_some() {
                valid.insert(path.clone());
            }
        }
        Ok(valid)
    }

    /// Whether `path` is valid.
    pub fn is_valid(&self, path: &StorePath) -> Result<bool, LocalError> {
        Ok(self.database.session()?.path_id(path)?.is_some())
    }

    /// The metadata of `path`, if it is valid.
    pub fn path_info(&self, path: &StorePath) -> Result<Option<PathInfo>, LocalError> {
        self.database.session()?.path_info(path)
    }

    /// The metadata of those of `paths` that are valid, in the order asked.
    pub fn path_infos(&self, paths: &[StorePath]) -> Result<Vec<PathInfo>, LocalError> {
        let session = self.database.session()?;
        session.consistent(|| {
            let infos = paths.iter().map(|path| session.path_info(path));
            infos.filter_map(Result::transpose).collect()
        })
    }

    /// Every path that `roots` need, themselves among them, each after those
    /// it refers to. An error if one of `roots` is not valid.
    pub fn closure<'a>(
        &self,
        roots: impl IntoIterator<Item = &'a StorePath>,
    ) -> Result<Vec<PathInfo>, LocalError> {
        let session = self.database.session()?;
        let infos = session.consistent(|| {
            let mut infos = Vec::new();
            let mut wanted: Vec<StorePath> = roots.into_iter().cloned().collect();
            let mut seen: BTreeSet<StorePath> = wanted.iter().cloned().collect();
            while let Some(path) = wanted.pop() {
                let info = session.path_info(&path)?;
                let info = info.ok_or_else(|| self.not_valid(&path))?;
                let new = info.references.iter().filter(|path| !seen.contains(path));
                let new: Vec<StorePath> = new.cloned().collect();
                seen.extend(new.iter().cloned());
                wanted.extend(new);
                infos.push(info);
            }
            Ok(infos)
        })?;
        Ok(crate::references_first(infos))
    }

    /// The valid paths that refer to `path`, itself among them if it does.
    pub fn referrers(&self, path: &StorePath) -> Result<BTreeSet<StorePath>, LocalError> {
        self.database.session()?.referrers(path)
    }

    /// The valid derivations of which `path` is an output.
    pub fn valid_derivers(&self, path: &StorePath) -> Result<BTreeSet<StorePath>, LocalError> {
        self.database.session()?.valid_derivers(path)
    }

    /// The outputs of a valid derivation whose paths are known before it is
    /// built, by name. Those of content-addressed derivations are found by
    /// [`Self::realisation`].
    pub fn derivation_outputs(
        &self,
        drv: &StorePath,
    ) -> Result<BTreeMap<String, StorePath>, LocalError> {
        let session = self.database.session()?;
        match session.path_id(drv)? {
            Some(_) => session.static_outputs(drv),
            None => Err(self.not_valid(drv)),
        }
    }

    /// The derivation at `drv_path`, which must be valid.
    pub fn read_derivation(&self, drv_path: &StorePath) -> Result<Derivation, LocalError> {
        match self.is_valid(drv_path)? {
            true => drv_hashes::read_derivation(drv_path, &self.layout),
            false => Err(self.not_valid(drv_path)),
        }
    }

    /// The valid path whose name begins with `hash_part`, 32 digits of Nix's
    /// base 32.
    pub fn path_from_hash_part(&self, hash_part: &str) -> Result<Option<StorePath>, LocalError> {
        self.database.session()?.path_from_hash_part(hash_part)
    }

    /// Every valid path.
    pub fn all_valid_paths(&self) -> Result<BTreeSet<StorePath>, LocalError> {
        self.database.session()?.all_paths()
    }

    /// Registers `infos`, whose files are in place with canonical metadata, in
    /// one transaction. What they refer to must be valid or among them. What is
    /// valid already gets the new hash, size, signatures and content address.
    ///
    /// A derivation's outputs become known by it too.
    pub fn register(&self, infos: &[PathInfo]) -> Result<(), LocalError> {
        self.writable("register paths")?;
        self.registrar.register(infos)
    }

    /// Adds signatures to what is known of a valid path.
    pub fn add_signatures(
        &self,
        path: &StorePath,
        signatures: &BTreeSet<String>,
    ) -> Result<(), LocalError> {
        self.writable("add signatures")?;
        self.database.session()?.add_signatures(path, signatures)
    }

    /// Registers which path an output turned out to be. One that is known
    /// already gets the new signatures; another path for it is an error, unless
    /// the one known is no longer valid.
    pub fn register_realisation(&self, realisation: &StoredRealisation) -> Result<(), LocalError> {
        self.writable("register a realisation")?;
        self.database.session()?.register_realisation(realisation)
    }

    /// Which valid path an output turned out to be, if that is known.
    pub fn realisation(
        &self,
        key: &RealisationKey,
        output: &str,
    ) -> Result<Option<StoredRealisation>, LocalError> {
        self.database.session()?.realisation(key, output)
    }

    /// A new list of paths that no garbage collector, ours or Nix's, may take
    /// until it is dropped.
    pub fn temp_roots(&self) -> Result<TempRoots, LocalError> {
        match self.options.access {
            Access::ReadWrite => TempRoots::new(&self.in_use),
            Access::ReadOnly => Ok(TempRoots::unneeded()),
        }
    }

    /// Locks `paths` against whoever else would make them: other threads, other
    /// processes, Nix. None if somebody holds one of them and `wait` says not to
    /// wait. They are free again when the locks are dropped.
    pub fn lock_outputs(
        &self,
        paths: &BTreeSet<StorePath>,
        wait: Wait<'_>,
    ) -> Result<Option<OutputLocks>, LocalError> {
        self.writable("lock paths")?;
        OutputLocks::take(&self.layout, paths, wait)
    }

    fn not_valid(&self, path: &StorePath) -> LocalError {
        LocalError::NotValid {
            path: self.layout.store_dir.render_path(path),
        }
    }

    fn writable(&self, attempt: &'static str) -> Result<(), LocalError> {
        match self.options.access {
            Access::ReadWrite => Ok(()),
            Access::ReadOnly => Err(LocalError::ReadOnly {
                attempt,
                store: self.layout.store.clone(),
            }),
        }
    }
}
