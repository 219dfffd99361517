//! Replaces a file so that whoever reads it sees all of the old text or all of
//! the new, also after a crash.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// A file that could not be replaced; the old one is as it was.
#[derive(Debug, thiserror::Error)]
#[error("cannot write `{}`", path.display())]
pub struct ReplaceError {
    /// The file.
    pub path: PathBuf,
    /// Why not.
    #[source]
    pub source: io::Error,
}

impl ReplaceError {
    /// Advice the user can act on, if there is any.
    pub fn help(&self) -> Option<String> {
        let kind = self.source.kind();
        if kind == io::ErrorKind::PermissionDenied {
            Some("run this as the user who owns the file, mostly root".to_owned())
        } else if kind == io::ErrorKind::ReadOnlyFilesystem {
            Some("the file system is read-only: change what the file is made from".to_owned())
        } else {
            None
        }
    }
}

/// Mode of a file that was not there: anyone may read it, like Nix's own.
const NEW_FILE_MODE: u32 = 0o644;

/// Writes `text` to `path`, through symbolic links, keeping owner and mode of
/// the file that was there. Missing directories are made.
pub fn replace_file(path: &Path, text: &str) -> Result<(), ReplaceError> {
    replace(path, text).map_err(|source| ReplaceError {
        path: path.to_path_buf(),
        source,
    })
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    let (target, old) = match fs::canonicalize(path) {
        Ok(target) => {
            let metadata = fs::metadata(&target)?;
            (target, Some(metadata))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => (path.to_path_buf(), None),
        Err(error) => return Err(error),
    };
    let dir = match target.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    fs::create_dir_all(dir)?;
    let mut file = NamedTempFile::new_in(dir)?;
    file.write_all(text.as_bytes())?;
    if let Some(old) = &old {
        let new = file.as_file().metadata()?;
        if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
            fchown(file.as_file(), Some(old.uid()), Some(old.gid()))?;
        }
    }
    // After the owner, since changing that may clear bits of the mode.
    let mode = old.map_or(NEW_FILE_MODE, |old| old.mode() & 0o7777);
    file.as_file()
        .set_permissions(Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(&target).map_err(|error| error.error)?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mode_stays_and_links_are_followed() {
        let dir = tempfile::tempdir().expect("a directory");
        let real = dir.path().join("real");
        let link = dir.path().join("link");
        fs::write(&real, "old").expect("written");
        fs::set_permissions(&real, Permissions::from_mode(0o640)).expect("mode set");
        std::os::unix::fs::symlink("real", &link).expect("linked");

        replace_file(&link, "new").expect("replaced");
        assert_eq!(fs::read_to_string(&real).expect("read"), "new");
        assert!(link.is_symlink());
        let mode = fs::metadata(&real).expect("there").mode() & 0o7777;
        assert_eq!(mode, 0o640);
        let entries = fs::read_dir(dir.path()).expect("listed").count();
        assert_eq!(entries, 2, "nothing temporary is left");
    }

    #[test]
    fn a_new_file_is_readable_by_all() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a/b/file");
        replace_file(&path, "text").expect("written");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o7777, 0o644);
    }

    #[test]
    fn a_failure_names_the_file() {
        let error = replace_file(Path::new("/proc/musher"), "x").expect_err("refused");
        assert_eq!(error.to_string(), "cannot write `/proc/musher`");
    }
}
