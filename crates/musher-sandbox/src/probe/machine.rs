//! Settings of a machine that decide over user namespaces and mounts.

use std::fs;
use std::path::Path;

/// A cause, and what to do about it.
type Told = (&'static str, &'static str);

pub(super) const NONE_ALLOWED: Told = (
    "user.max_user_namespaces is 0",
    "set it to 15000 in /etc/sysctl.d, and run `sysctl --system`",
);

pub(super) const NOT_FOR_USERS: Told = (
    "kernel.unprivileged_userns_clone is 0",
    "set it to 1 in /etc/sysctl.d, and run `sysctl --system`",
);

pub(super) const APPARMOR: Told = (
    "kernel.apparmor_restrict_unprivileged_userns is 1, which takes the rights in a user \
     namespace from programs without a profile",
    "set it to 0 in /etc/sysctl.d and run `sysctl --system`, or give this program an AppArmor \
     profile that says `userns,`",
);

pub(super) const CHROOT: Told = (
    "this process is in a chroot, where the kernel makes no user namespace and moves no root",
    "start it outside, or enter the directory with pivot_root, as containers do",
);

pub(super) const CONTAINER: Told = (
    "a filter of system calls, as containers have it, is over this process",
    "start the container with one that allows namespaces and mounts (docker, podman: \
     --security-opt seccomp=unconfined), or privileged",
);

pub(super) const HIDDEN_PROC: Told = (
    "parts of this machine's /proc are hidden or read-only, as in containers; the kernel then \
     gives nobody a new one",
    "start the container with an unmasked /proc (docker: --security-opt systempaths=unconfined, \
     podman: --security-opt unmask=ALL)",
);

/// What the settings say.
#[derive(Debug, Default)]
pub(super) struct Machine {
    pub(super) no_user_namespaces: bool,
    pub(super) not_for_users: bool,
    pub(super) apparmor: bool,
    pub(super) chroot: bool,
    pub(super) filtered: bool,
}

impl Machine {
    pub(super) fn read() -> Self {
        let is = |path: &str, value: &str| {
            fs::read_to_string(path).is_ok_and(|text| text.trim() == value)
        };
        Self {
            no_user_namespaces: is("/proc/sys/user/max_user_namespaces", "0"),
            not_for_users: is("/proc/sys/kernel/unprivileged_userns_clone", "0"),
            apparmor: is(
                "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
                "1",
            ),
            chroot: is_chroot(),
            filtered: is_filtered(),
        }
    }

    pub(super) fn systemd(&self) -> bool {
        Path::new("/run/systemd/system").exists()
    }
}

/// The root directory is where a mount begins, unless somebody moved it. A chroot
/// into such a place is not told from a container.
fn is_chroot() -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    !mounts.is_empty()
        && !mounts
            .lines()
            .any(|line| line.split(' ').nth(4) == Some("/"))
}

fn is_filtered() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .any(|line| line.split_whitespace().eq(["Seccomp:", "2"]))
}
