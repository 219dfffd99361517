//! Copies a tree of files, rewritten if need be, to a place of our own. A copy
//! shares no file with the original, so that whoever may still hold one open
//! can no longer change it. Each entry is opened beneath its directory's
//! descriptor and no symbolic link is followed: what the build left behind
//! decides nothing but what is in the copy.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, fchmod, mkdirat, openat, readlinkat, statat,
    symlinkat,
};

use super::rewrite::{Rewriter, Rewrites};

/// How deep a tree may be, as in a NAR.
const MAX_DEPTH: usize = 64;

/// Copies what is at `from`, of whatever type, to `to`, which must not exist.
/// Contents, link targets and names are rewritten. Who may execute a file is
/// kept; other metadata is not.
pub(crate) fn copy_tree(from: &Path, to: &Path, rewrites: &Rewrites) -> io::Result<()> {
    let copy = Copy { rewrites };
    let name = |path: &Path| CString::new(path.as_os_str().as_bytes()).map_err(io::Error::from);
    copy.entry(
        &Place::new(CWD, &name(from)?),
        &Place::new(CWD, &name(to)?),
        0,
    )
}

/// A name in an open directory.
struct Place<'a> {
    directory: BorrowedFd<'a>,
    name: &'a CStr,
}

impl<'a> Place<'a> {
    fn new(directory: BorrowedFd<'a>, name: &'a CStr) -> Self {
        Self { directory, name }
    }

    fn open(&self, flags: OFlags) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        Ok(openat(self.directory, self.name, flags, Mode::empty())?)
    }
}

struct Copy<'a> {
    rewrites: &'a Rewrites,
}

impl Copy<'_> {
    fn entry(&self, from: &Place<'_>, to: &Place<'_>, depth: usize) -> io::Result<()> {
        let found = statat(from.directory, from.name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(found.st_mode) {
            FileType::RegularFile => {
                let executable = Mode::from_raw_mode(found.st_mode).contains(Mode::XUSR);
                self.regular(from, to, executable)
            }
            FileType::Symlink => self.link(from, to),
            FileType::Directory if depth < MAX_DEPTH => self.directory(from, to, depth),
            FileType::Directory => Err(io::Error::other("directories lie too deep")),
            FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => Err(io::Error::other("a file has an unsupported type")),
        }
    }

    fn regular(&self, from: &Place<'_>, to: &Place<'_>, executable: bool) -> io::Result<()> {
        // A pipe that took the file's place must not make us wait.
        let mut source = File::from(from.open(OFlags::NONBLOCK)?);
        if !source.metadata()?.is_file() {
            return Err(io::Error::other("a file changed its type"));
        }
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let target = openat(to.directory, to.name, flags, Mode::RUSR | Mode::WUSR)?;
        let mut target = File::from(target);
        if self.rewrites.is_empty() {
            // From file to file the kernel copies, or shares the blocks.
            io::copy(&mut source, &mut target)?;
        } else {
            let mut rewriter = Rewriter::new(self.rewrites, &target);
            let mut source = io::BufReader::with_capacity(64 << 10, source);
            io::copy(&mut source, &mut rewriter)?;
            rewriter.finish()?;
        }
        let mode = if executable { 0o555 } else { 0o444 };
        Ok(fchmod(&target, Mode::from_raw_mode(mode))?)
    }

    fn link(&self, from: &Place<'_>, to: &Place<'_>) -> io::Result<()> {
        let target = readlinkat(from.directory, from.name, Vec::new())?;
        let target = self.rewritten(&target)?;
        Ok(symlinkat(target, to.directory, to.name)?)
    }

    fn directory(&self, from: &Place<'_>, to: &Place<'_>, depth: usize) -> io::Result<()> {
        let source = from.open(OFlags::DIRECTORY)?;
        mkdirat(to.directory, to.name, Mode::RWXU)?;
        let target = openat(
            to.directory,
            to.name,
            OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        for entry in Dir::read_from(&source)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let new_name = self.rewritten(name)?;
            self.entry(
                &Place::new(source.as_fd(), name),
                &Place::new(target.as_fd(), &new_name),
                depth + 1,
            )?;
        }
        Ok(())
    }

    fn rewritten(&self, text: &CStr) -> io::Result<CString> {
        let mut bytes = text.to_bytes().to_vec();
        self.rewrites.whole(&mut bytes);
        CString::new(bytes).map_err(io::Error::from)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use nix_archive::nar::{CaseHack, hash_path};
    use nix_derivation::StorePath;
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    const FROM: &str = "dc04vv14dak1c1r48qa0m23vr9jy8sm0";
    const TO: &str = "zc842j0rz61mjsp3h3wp5ly71ak6qgdn";

    fn rewrites() -> Rewrites {
        let path = |hash: &str| StorePath::from_basename(format!("{hash}-x").as_bytes()).unwrap();
        let mut rewrites = Rewrites::default();
        rewrites.add(&path(FROM), &path(TO));
        rewrites
    }

    fn sample(root: &Path, hash: &str) {
        fs::create_dir_all(root.join("dir/empty")).unwrap();
        fs::write(root.join("dir").join(format!("{hash}-named")), "x").unwrap();
        fs::write(root.join("text"), format!("see /nix/store/{hash}-x/bin")).unwrap();
        fs::write(root.join(OsStr::from_bytes(b"odd \xff\n")), "").unwrap();
        fs::write(root.join("program"), "#!").unwrap();
        fs::set_permissions(root.join("program"), PermissionsExt::from_mode(0o755)).unwrap();
        symlink(format!("/nix/store/{hash}-x"), root.join("link")).unwrap();
    }

    #[test]
    fn a_copy_is_the_tree_with_every_hash_part_replaced() {
        let scratch = tempfile::tempdir().unwrap();
        let [from, to, expected] = ["from", "to", "expected"].map(|name| scratch.path().join(name));
        sample(&from, FROM);
        sample(&expected, TO);
        copy_tree(&from, &to, &rewrites()).unwrap();
        let hash = |path: &Path| hash_path(path, CaseHack::Disabled).unwrap();
        assert_eq!(hash(&to), hash(&expected));

        let plain = scratch.path().join("plain");
        copy_tree(&from, &plain, &Rewrites::default()).unwrap();
        assert_eq!(hash(&plain), hash(&from));
    }

    #[test]
    fn links_are_copied_and_not_followed() {
        let scratch = tempfile::tempdir().unwrap();
        let secret = scratch.path().join("secret");
        fs::write(&secret, "secret").unwrap();
        let from = scratch.path().join("from");
        symlink(&secret, &from).unwrap();
        let to = scratch.path().join("to");
        copy_tree(&from, &to, &Rewrites::default()).unwrap();
        assert_eq!(fs::read_link(&to).unwrap(), secret);
        // What is there is never written through.
        let again = copy_tree(&from, &to, &Rewrites::default()).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&secret).unwrap(), b"secret");
    }

    #[test]
    fn sockets_are_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let from = scratch.path().join("from");
        fs::create_dir(&from).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(from.join("socket")).unwrap();
        let to = scratch.path().join("to");
        let refused = copy_tree(&from, &to, &Rewrites::default()).unwrap_err();
        assert_eq!(refused.to_string(), "a file has an unsupported type");
    }
}
