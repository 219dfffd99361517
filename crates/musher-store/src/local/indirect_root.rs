//! Links that keep paths from the garbage collector, named as Nix names them: a
//! link anywhere on the host, and below `gcroots/auto` a link to that one.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::Path;
use std::process;

use nix_derivation::{HashAlgorithm, hash_bytes, nixbase32};

use super::{LocalError, LocalStore};

impl LocalStore {
    /// Keeps what `link`, an absolute path, leads to from the garbage
    /// collector, for as long as it does.
    pub fn add_indirect_root(&self, link: &Path) -> Result<(), LocalError> {
        let digest = hash_bytes(HashAlgorithm::Sha1, link.as_os_str().as_bytes());
        let auto = self.state_dir().join("gcroots/auto");
        let place = auto.join(nixbase32::encode(digest.digest_as_bytes()));
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&auto)
            .and_then(|()| replace_link(&place, link, |_| true))
            .map_err(LocalError::io("make the link", &place))
    }
}

/// Makes `place` a link to `target`, in the place of a link to somewhere that
/// `may_go`.
pub(crate) fn replace_link(
    place: &Path,
    target: &Path,
    may_go: impl Fn(&Path) -> bool,
) -> io::Result<()> {
    match fs::read_link(place) {
        Ok(old) if old == target => return Ok(()),
        Ok(old) if may_go(&old) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Ok(_) | Err(_) => {
            let text = "something else is there";
            return Err(io::Error::new(ErrorKind::AlreadyExists, text));
        }
    }
    let mut aside = place.as_os_str().to_owned();
    aside.push(format!(".tmp-{}", process::id()));
    match fs::remove_file(&aside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    symlink(target, &aside)?;
    fs::rename(&aside, place)
}
