//! Unpacks a tar archive, of which nothing is believed: what it holds can only
//! become files, directories and links beneath one directory.

use std::borrow::Cow;
use std::io::{self, Read};
use std::path::Path;

use tar::{Archive, Entry, EntryType};

use super::super::error::BuiltinError;
use super::beneath::{Beneath, BeneathError};

/// Unpacks `tar`, which is read from `archive`, into `target`. Of what it says
/// about its members only their kind and who may execute them counts.
pub(super) fn unpack(archive: &Path, tar: impl Read, target: &Beneath) -> Result<(), BuiltinError> {
    let unreadable = |source| BuiltinError::Archive {
        path: archive.to_owned(),
        source,
    };
    let mut tar = Archive::new(tar);
    for entry in tar.entries().map_err(unreadable)? {
        let mut entry = entry.map_err(unreadable)?;
        member(archive, &mut entry, target)?;
    }
    Ok(())
}

fn member<R: Read>(
    archive: &Path,
    entry: &mut Entry<'_, R>,
    target: &Beneath,
) -> Result<(), BuiltinError> {
    let path = entry.path_bytes().into_owned();
    let name = || String::from_utf8_lossy(&path).into_owned();
    let refused = |reason: &str| BuiltinError::Member {
        path: archive.to_owned(),
        member: name(),
        reason: reason.to_owned(),
    };
    let unwritten = |source| BuiltinError::WriteMember {
        path: archive.to_owned(),
        member: name(),
        source,
    };
    let done = |result| match result {
        Ok(made) => Ok(made),
        Err(BeneathError::Leads(reason)) => Err(refused(reason)),
        Err(BeneathError::Io(source)) => Err(unwritten(source)),
    };
    let link = entry.link_name_bytes().map(Cow::into_owned);
    let link = || link.clone().ok_or_else(|| refused("is a link to nothing"));
    let kind = entry.header().entry_type();
    // Before there were directories in the format they had such names.
    let is_old_directory = kind == EntryType::Regular && path.ends_with(b"/");
    if kind.is_dir() || is_old_directory {
        done(target.directory(&path))
    } else if kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse() {
        let executable = entry.header().mode().map_err(unwritten)? & 0o100 != 0;
        let mut file = match target.file(&path, executable) {
            Ok(file) => file,
            Err(error) => return done(Err(error)),
        };
        io::copy(entry, &mut file).map(drop).map_err(unwritten)
    } else if kind.is_symlink() {
        done(target.symlink(&path, &link()?))
    } else if kind.is_hard_link() {
        done(target.link(&path, &link()?))
    } else if kind.is_pax_global_extensions() {
        // What is said of all members, which concerns none of them.
        Ok(())
    } else {
        Err(refused(&format!(
            "is of a kind that is not unpacked ({kind:?})"
        )))
    }
}
