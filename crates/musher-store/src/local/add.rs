//! Adds paths that are named by their contents. The name is not known before
//! the contents are on disk, so they are unpacked under a name that is made up.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use musher_protocol::types::{NarHash, PathInfo};
use nix_archive::nar::{CaseHack, hash_path};
use nix_derivation::{CAHash, ContentAddressMethod, HashAlgorithm, StorePath};
use sha2::{Digest, Sha256};

use super::canonical::Canonicaliser;
use super::import::Aside;
use super::output_locks::Wait;
use super::temp_roots::TempRoots;
use super::{LocalError, LocalStore, content};

static NEXT: AtomicU64 = AtomicU64::new(0);

/// How the bytes that are to be added are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dump {
    /// They are one file's contents.
    Flat,
    /// They are a NAR.
    Nar,
}

/// A path that is to be named by its contents.
#[derive(Debug, Clone, Copy)]
pub struct NewPath<'a> {
    /// Its name, without the hash part.
    pub name: &'a str,
    /// How its contents are hashed.
    pub method: ContentAddressMethod,
    /// With what.
    pub algorithm: HashAlgorithm,
    /// The valid paths it refers to.
    pub references: &'a BTreeSet<StorePath>,
    /// Whether what is valid is unpacked again.
    pub repair: bool,
}

impl<'a> NewPath<'a> {
    /// A text, such as a derivation.
    pub fn text(name: &'a str, references: &'a BTreeSet<StorePath>) -> Self {
        Self {
            name,
            method: ContentAddressMethod::Text,
            algorithm: HashAlgorithm::Sha256,
            references,
            repair: false,
        }
    }

    /// A file tree, hashed as a NAR.
    pub fn tree(name: &'a str, references: &'a BTreeSet<StorePath>) -> Self {
        Self {
            method: ContentAddressMethod::Nar,
            ..Self::text(name, references)
        }
    }
}

impl LocalStore {
    /// Adds a text. It is in `roots` before it is valid.
    pub fn add_text(
        &self,
        name: &str,
        text: &[u8],
        references: &BTreeSet<StorePath>,
        roots: &TempRoots,
    ) -> Result<PathInfo, LocalError> {
        let new = NewPath::text(name, references);
        let hash = nix_derivation::hash_bytes(new.algorithm, text);
        // Most texts are added again and again.
        let path = self.name_of(&new, &content::address(new.method, &hash, name)?)?;
        roots.add(&path)?;
        if let Some(info) = self.path_info(&path)? {
            return Ok(info);
        }
        self.add_ca(&new, Dump::Flat, &mut &*text, roots)
    }

    /// Adds what `source` has, up to its end. It is in `roots` before it is
    /// valid.
    pub fn add_ca(
        &self,
        new: &NewPath<'_>,
        dump: Dump,
        source: &mut dyn Read,
        roots: &TempRoots,
    ) -> Result<PathInfo, LocalError> {
        self.writable("add a path")?;
        let made_up = made_up()?;
        roots.add(&made_up)?;
        let aside = Aside::new(self, &made_up)?;
        match dump {
            Dump::Nar => {
                aside.unpack(new.name, u64::MAX, source)?;
            }
            Dump::Flat => self.write_flat(&aside, source)?,
        }
        self.settle(new, aside, roots)
    }

    /// Adds the file tree at `path`, which may lie anywhere. It is in `roots`
    /// before it is valid.
    pub fn add_tree(
        &self,
        new: &NewPath<'_>,
        path: &Path,
        roots: &TempRoots,
    ) -> Result<PathInfo, LocalError> {
        let flat = matches!(
            new.method,
            ContentAddressMethod::Flat | ContentAddressMethod::Text
        );
        if flat {
            let mut file = File::open(path).map_err(LocalError::io("open", path))?;
            return self.add_ca(new, Dump::Flat, &mut file, roots);
        }
        let mut nar = super::read::NarReader::open(path)?;
        self.add_ca(new, Dump::Nar, &mut nar, roots)
    }

    fn write_flat(&self, aside: &Aside<'_>, source: &mut dyn Read) -> Result<(), LocalError> {
        let mut write = || -> io::Result<()> {
            let mut options = fs::OpenOptions::new();
            let mut file = options
                .write(true)
                .create_new(true)
                .mode(0o444)
                .open(&aside.path)?;
            io::copy(source, &mut file).map(drop)
        };
        write().map_err(LocalError::io("write", &aside.path))?;
        let canonical = Canonicaliser::new().canonicalise(&aside.path);
        canonical.map_err(LocalError::Canonical)
    }

    /// Names what lies aside by its contents, and makes it valid.
    fn settle(
        &self,
        new: &NewPath<'_>,
        aside: Aside<'_>,
        roots: &TempRoots,
    ) -> Result<PathInfo, LocalError> {
        let nar =
            hash_path(&aside.path, CaseHack::native()).map_err(|source| LocalError::Pack {
                path: new.name.to_owned(),
                source,
            })?;
        let hash = content::hash_new(new.method, new.algorithm, &aside.path)
            .map_err(LocalError::io("hash", &aside.path))?;
        let ca = content::address(new.method, &hash, new.name)?;
        let path = self.name_of(new, &ca)?;
        roots.add(&path)?;
        let lock = self.lock_outputs(&BTreeSet::from([path.clone()]), Wait::ForIt)?;
        if !new.repair
            && let Some(info) = self.path_info(&path)?
        {
            return Ok(info);
        }
        aside.move_to(&path)?;
        let info = PathInfo {
            path,
            deriver: None,
            nar_hash: NarHash(nar.sha256),
            nar_size: nar.size,
            references: new.references.clone(),
            registration_time: 0,
            ultimate: false,
            signatures: BTreeSet::new(),
            ca: Some(ca),
        };
        self.register(std::slice::from_ref(&info))?;
        drop(lock);
        Ok(info)
    }

    fn name_of(&self, new: &NewPath<'_>, ca: &CAHash) -> Result<StorePath, LocalError> {
        let named = self
            .store_dir()
            .build_ca_path(new.name, ca, new.references, false);
        named.map_err(|source| LocalError::Name {
            name: new.name.to_owned(),
            source,
        })
    }
}

/// A path that nobody else makes up.
fn made_up() -> Result<StorePath, LocalError> {
    let mut hasher = Sha256::new();
    hasher.update(process::id().to_le_bytes());
    hasher.update(NEXT.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    hasher.update(format!("{:?}", SystemTime::now()));
    let digest: [u8; 32] = hasher.finalize().into();
    let mut short = [0; 20];
    short.copy_from_slice(&digest[..20]);
    StorePath::from_parts(short, "import.tmp").map_err(|source| LocalError::Name {
        name: "import.tmp".to_owned(),
        source,
    })
}
