//! Makes mounts, in two ways: by descriptors (`open_tree`, `mount_setattr`,
//! `move_mount`; Linux 5.12), where a mount is restricted before anybody sees it,
//! or by `mount(2)`, where it is put in place and restricted then.
//!
//! In a user namespace the kernel lets nobody take a restriction away that a
//! mount had outside (`nosuid`, `nodev`, `noexec`, read-only, access times), and
//! sees a remount that does not repeat them as such an attempt.

mod old;

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MoveMountFlags, OpenTreeFlags};

use super::{failure, sys};
use crate::error::{Attempt, SetupError};
use crate::plan::MountCalls;

/// What a mounted file or directory does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// No change. Set-uid bits and devices have no effect.
    ReadOnly,
    /// Set-uid bits and devices have no effect.
    Writable,
    /// No change but to the device itself.
    Device,
}

const MOUNT_ATTR_RDONLY: u64 = 0x1;
const MOUNT_ATTR_NOSUID: u64 = 0x2;
const MOUNT_ATTR_NODEV: u64 = 0x4;

impl Access {
    fn attributes(self) -> u64 {
        match self {
            Self::ReadOnly => MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
            Self::Writable => MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
            Self::Device => MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID,
        }
    }

    fn flags(self) -> MountFlags {
        match self {
            Self::ReadOnly => MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV,
            Self::Writable => MountFlags::NOSUID | MountFlags::NODEV,
            Self::Device => MountFlags::RDONLY | MountFlags::NOSUID,
        }
    }
}

/// The system calls to use.
#[derive(Debug)]
pub(super) enum Calls {
    Descriptors,
    Old {
        /// Where the machine has mounts.
        mounted: Vec<PathBuf>,
    },
}

impl Calls {
    pub(super) fn of(wanted: MountCalls) -> Result<Self, Errno> {
        if wanted == MountCalls::Detect && knows_descriptors()? {
            Ok(Self::Descriptors)
        } else {
            Ok(Self::Old {
                mounted: old::mount_points()?,
            })
        }
    }
}

/// A kernel that has the newest of the calls has them all. Containers answer
/// `EPERM` to what their filter does not know.
fn knows_descriptors() -> Result<bool, Errno> {
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let nothing = sys::restrict(root.as_fd(), 0, false);
    Ok(!matches!(nothing, Err(Errno::NOSYS | Errno::PERM)))
}

/// A file or directory of the machine, on its way to another place.
pub(super) struct Source<'a> {
    fd: OwnedFd,
    calls: &'a Calls,
}

impl<'a> Source<'a> {
    /// What `name` is, below `dir` unless it is absolute. A link itself is found,
    /// not what it says, unless it shall be followed.
    pub(super) fn find(
        calls: &'a Calls,
        dir: BorrowedFd<'_>,
        name: impl rustix::path::Arg,
        follow: bool,
    ) -> Result<Self, Errno> {
        let fd = match calls {
            Calls::Descriptors => {
                let nofollow = OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
                let flags = OpenTreeFlags::OPEN_TREE_CLONE
                    | OpenTreeFlags::OPEN_TREE_CLOEXEC
                    | OpenTreeFlags::AT_RECURSIVE
                    | if follow {
                        OpenTreeFlags::empty()
                    } else {
                        nofollow
                    };
                rustix::mount::open_tree(dir, name, flags)?
            }
            Calls::Old { .. } => {
                let nofollow = if follow {
                    OFlags::empty()
                } else {
                    OFlags::NOFOLLOW
                };
                let flags = OFlags::PATH | OFlags::CLOEXEC | nofollow;
                rustix::fs::openat(dir, name, flags, Mode::empty())?
            }
        };
        Ok(Self { fd, calls })
    }

    pub(super) fn stat(&self) -> Result<rustix::fs::Stat, Errno> {
        rustix::fs::fstat(&self.fd)
    }

    /// What it says, if it is a link.
    pub(super) fn link(&self) -> Result<PathBuf, Errno> {
        use std::os::unix::ffi::OsStringExt as _;
        let text = rustix::fs::readlinkat(&self.fd, "", Vec::new())?;
        Ok(PathBuf::from(std::ffi::OsString::from_vec(
            text.into_bytes(),
        )))
    }

    /// Puts it there, with no more than that access.
    pub(super) fn mount(self, target: BorrowedFd<'_>, access: Access) -> Result<(), Failed> {
        match self.calls {
            Calls::Descriptors => {
                sys::restrict(self.fd.as_fd(), access.attributes(), true)
                    .map_err(Failed::Restrict)?;
                let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH
                    | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
                rustix::mount::move_mount(self.fd.as_fd(), "", target, "", flags)
                    .map_err(Failed::Bind)
            }
            Calls::Old { mounted } => old::mount(mounted, self.fd.as_fd(), target, access.flags()),
        }
    }
}

/// Which half of a mount failed.
#[derive(Debug)]
pub(super) enum Failed {
    Bind(Errno),
    Restrict(Errno),
}

impl Failed {
    pub(super) fn of(self, path: &std::path::Path) -> SetupError {
        match self {
            Self::Bind(errno) => failure(Attempt::Bind, path)(errno),
            Self::Restrict(errno) => failure(Attempt::Restrict, path)(errno),
        }
    }
}

/// Makes what is mounted at a directory unchangeable.
pub(super) fn close(calls: &Calls, mount: BorrowedFd<'_>) -> Result<(), Errno> {
    match calls {
        Calls::Descriptors => sys::restrict(mount, MOUNT_ATTR_RDONLY, false),
        Calls::Old { .. } => old::remount(&by_descriptor(mount), MountFlags::RDONLY),
    }
}

/// A path that leads to what a descriptor names, for calls that take no descriptor.
pub(super) fn by_descriptor(fd: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}
