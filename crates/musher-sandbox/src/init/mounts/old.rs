//! Mounts by `mount(2)`, for kernels before 5.12.

use std::ffi::OsString;
use std::fs;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::StatVfsMountFlags;
use rustix::io::Errno;
use rustix::mount::MountFlags;

use super::{Failed, by_descriptor};

/// Restrictions that a remount must repeat.
const LOCKED: [(StatVfsMountFlags, MountFlags); 7] = [
    (StatVfsMountFlags::RDONLY, MountFlags::RDONLY),
    (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
    (StatVfsMountFlags::NODEV, MountFlags::NODEV),
    (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
    (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
    (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
    (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
];

/// Binds a file or directory, and what is mounted below it, and restricts each.
/// `mounted` is where the machine has mounts.
pub(super) fn mount(
    mounted: &[PathBuf],
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    flags: MountFlags,
) -> Result<(), Failed> {
    // The descriptor names what lies beneath the new mount, its path the mount.
    let place = path_of(target).map_err(Failed::Bind)?;
    let origin = path_of(source).map_err(Failed::Bind)?;
    let from = by_descriptor(source);
    let below = |path: &PathBuf| path.starts_with(&origin) && *path != origin;
    if !mounted.iter().any(below) {
        rustix::mount::mount_bind(from, by_descriptor(target)).map_err(Failed::Bind)?;
        return remount(&place, flags).map_err(Failed::Restrict);
    }
    rustix::mount::mount_bind_recursive(from, by_descriptor(target)).map_err(Failed::Bind)?;
    let all = mount_points().map_err(Failed::Restrict)?;
    for mount in all.iter().filter(|path| path.starts_with(&place)) {
        remount(mount, flags).map_err(Failed::Restrict)?;
    }
    Ok(())
}

fn path_of(fd: BorrowedFd<'_>) -> Result<PathBuf, Errno> {
    fs::read_link(by_descriptor(fd)).map_err(|error| errno(&error))
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// Adds flags to one mount.
pub(super) fn remount(mount: &Path, flags: MountFlags) -> Result<(), Errno> {
    let now = rustix::fs::statvfs(mount)?.f_flag;
    let kept = LOCKED
        .into_iter()
        .filter(|(flag, _)| now.contains(*flag))
        .fold(MountFlags::empty(), |kept, (_, flag)| kept | flag);
    rustix::mount::mount_remount(mount, MountFlags::BIND | kept | flags, c"")
}

/// Where something is mounted.
pub(super) fn mount_points() -> Result<Vec<PathBuf>, Errno> {
    let list = fs::read("/proc/self/mountinfo").map_err(|error| errno(&error))?;
    let mounts = list
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
        .map(|path| PathBuf::from(OsString::from_vec(unescape(path))));
    Ok(mounts.collect())
}

/// Blanks are written as `\040`, and so on.
fn unescape(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, tail)) = rest.split_first() {
        let code = tail
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        out.push(code.unwrap_or(*first));
        rest = if code.is_some() { &tail[3..] } else { tail };
    }
    out
}
