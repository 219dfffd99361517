//! Gives a file tree the metadata that store paths have, so that nothing but
//! contents, names and the executable bit tells two of them apart: modes 0444
//! and 0555, modification time 1, our own user and group, no extended
//! attributes. Knows no store.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::fs::{self, Metadata, Permissions};
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, llistxattr, lremovexattr, utimensat};
use rustix::io::Errno;

use super::unpack::STORE_TIME;

/// Attributes that belong to the host, not to the file; Nix leaves the same
/// (`ignored-acls`).
const OF_THE_HOST: [&[u8]; 3] = [b"security.csm", b"security.selinux", b"system.nfs4_acl"];

/// How deep a tree may be. A NAR can hold no more, and nobody can make us open
/// more directories at once.
const MAX_DEPTH: usize = 64;

/// Why a file tree cannot become a store path.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    /// Neither a file, nor a directory, nor a link.
    #[error("`{}` is a {kind}, which cannot be in a store", .path.display())]
    Kind {
        /// Where it is.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// Somebody else's file was linked into the tree.
    #[error("`{}` belongs to user {uid}, who did not build it", .path.display())]
    Owner {
        /// Where it is.
        path: PathBuf,
        /// Whose it is.
        uid: u32,
    },
    /// Directories lie inside each other beyond what a NAR can hold.
    #[error("`{}` lies in more than {MAX_DEPTH} directories", .path.display())]
    Deep {
        /// The directory that is one too many.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot {attempt} `{}`", .path.display())]
    Io {
        /// What was tried.
        attempt: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl CanonicalError {
    fn io(attempt: &'static str, path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io {
            attempt,
            path: path.to_owned(),
            source,
        }
    }
}

/// Canonicalises trees. One is used for all outputs of a build, which may share
/// files by hard links.
#[derive(Debug, Default)]
pub struct Canonicaliser {
    /// Only these users' files are taken, where that is said.
    owners: Option<RangeInclusive<u32>>,
    /// Device and inode of what was canonicalised, and so belongs to us now.
    done: BTreeSet<(u64, u64)>,
}

impl Canonicaliser {
    /// One that takes files of anybody, as is right for what we made ourselves.
    pub fn new() -> Self {
        Self::default()
    }

    /// One that takes only files of these users, who ran the build: a build may
    /// link files of others into its output.
    pub fn of_builders(owners: RangeInclusive<u32>) -> Self {
        Self {
            owners: Some(owners),
            done: BTreeSet::new(),
        }
    }

    /// Canonicalises the tree at `path`. Nobody else may change it meanwhile.
    pub fn canonicalise(&mut self, path: &Path) -> Result<(), CanonicalError> {
        self.entry(path, 0)
    }

    /// Canonicalises what is at `path`, in so many directories.
    fn entry(&mut self, path: &Path, depth: usize) -> Result<(), CanonicalError> {
        let found = fs::symlink_metadata(path).map_err(CanonicalError::io("look at", path))?;
        refuse_special(path, &found)?;
        strip_attributes(path)?;
        if !self.is_acceptable(path, &found)? {
            return Ok(());
        }
        self.done.insert((found.dev(), found.ino()));
        if !found.is_symlink() {
            let executable = found.is_dir() || found.mode() & 0o100 != 0;
            let mode = if executable { 0o555 } else { 0o444 };
            if found.mode() & 0o7777 != mode {
                fs::set_permissions(path, Permissions::from_mode(mode))
                    .map_err(CanonicalError::io("set the mode of", path))?;
            }
        }
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        if found.uid() != uid.as_raw() {
            lchown(path, Some(uid.as_raw()), Some(gid.as_raw()))
                .map_err(CanonicalError::io("take over", path))?;
        }
        if found.is_dir() {
            if depth == MAX_DEPTH {
                return Err(CanonicalError::Deep {
                    path: path.to_owned(),
                });
            }
            let entries = fs::read_dir(path).map_err(CanonicalError::io("list", path))?;
            for entry in entries {
                let entry = entry.map_err(CanonicalError::io("list", path))?;
                self.entry(&entry.path(), depth + 1)?;
            }
        }
        if (found.mtime(), found.mtime_nsec()) != (1, 0) {
            utimensat(CWD, path, &STORE_TIME, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|errno| CanonicalError::io("set the time of", path)(errno.into()))?;
        }
        Ok(())
    }

    /// Whether it is to be canonicalised still. An error if it is nobody's that
    /// ran the build.
    fn is_acceptable(&self, path: &Path, found: &Metadata) -> Result<bool, CanonicalError> {
        let Some(owners) = &self.owners else {
            return Ok(true);
        };
        if owners.contains(&found.uid()) {
            return Ok(true);
        }
        let seen = !found.is_dir() && self.done.contains(&(found.dev(), found.ino()));
        match seen {
            true => Ok(false),
            false => Err(CanonicalError::Owner {
                path: path.to_owned(),
                uid: found.uid(),
            }),
        }
    }
}

fn refuse_special(path: &Path, found: &Metadata) -> Result<(), CanonicalError> {
    use std::os::unix::fs::FileTypeExt;

    let kind = found.file_type();
    if kind.is_file() || kind.is_dir() || kind.is_symlink() {
        return Ok(());
    }
    let kind = if kind.is_socket() {
        "socket"
    } else if kind.is_fifo() {
        "named pipe"
    } else if kind.is_block_device() || kind.is_char_device() {
        "device"
    } else {
        "file of an unknown kind"
    };
    Err(CanonicalError::Kind {
        path: path.to_owned(),
        kind,
    })
}

/// Removes extended attributes, ACLs among them.
fn strip_attributes(path: &Path) -> Result<(), CanonicalError> {
    let failed = |errno: Errno| CanonicalError::io("strip the attributes of", path)(errno.into());
    let size = match llistxattr(path, &mut [0_u8; 0][..]) {
        Ok(0) | Err(Errno::NOTSUP | Errno::NODATA) => return Ok(()),
        Ok(size) => size,
        Err(errno) => return Err(failed(errno)),
    };
    let mut names = vec![0_u8; size];
    let size = llistxattr(path, &mut names[..]).map_err(failed)?;
    let mut rest = &names[..size];
    while let Ok(name) = CStr::from_bytes_until_nul(rest) {
        rest = &rest[name.to_bytes_with_nul().len()..];
        if OF_THE_HOST.contains(&name.to_bytes()) {
            continue;
        }
        lremovexattr(path, name).map_err(failed)?;
    }
    Ok(())
}
