//! Who the build is: the user namespace that makes its ids, and the privileges
//! that it does not get.

use std::fs;

use rustix::fs::{Gid, Uid};
use rustix::process::{
    DumpableBehavior, Signal, getgid, getuid, set_dumpable_behavior,
    set_parent_process_death_signal,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, set_capabilities, set_keep_capabilities, set_no_new_privs,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use super::{failure, refused, sys};
use crate::error::{Attempt, SetupError};
use crate::request::Ids;

/// Makes a user namespace in which this process's own ids are those. It may then
/// do to namespaces made from it what root may, and keeps its groups: only root
/// could drop them.
pub(super) fn own_namespace(inside: Ids) -> Result<(), SetupError> {
    let outside = Ids {
        uid: getuid().as_raw(),
        gid: getgid().as_raw(),
    };
    sys::unshare(libc::CLONE_NEWUSER).map_err(failure(Attempt::UserNamespace, ""))?;
    map(inside, outside)
}

/// Leaves root for the ids of a slot, which look like those inside. All that
/// root had to do is done: this namespace has power over nothing that was made.
pub(super) fn become_slot(inside: Ids, outside: Ids, kvm: bool) -> Result<(), SetupError> {
    let step = || failure(Attempt::ChangeIds, "");
    // Where unprivileged user namespaces are refused, root may still make one.
    set_keep_capabilities(true).map_err(step())?;
    change_ids(outside, kvm)?;
    let admin = CapabilitySet::SYS_ADMIN;
    let sets = CapabilitySets {
        effective: admin,
        permitted: admin,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets).map_err(step())?;
    // Changing ids made our files in /proc root's.
    set_dumpable_behavior(DumpableBehavior::Dumpable).map_err(step())?;
    sys::unshare(libc::CLONE_NEWUSER).map_err(failure(Attempt::UserNamespace, ""))?;
    map(inside, outside)
}

/// Leaves root for the ids of a slot where nothing hides them.
pub(super) fn leave_root(ids: Ids, kvm: bool) -> Result<(), SetupError> {
    change_ids(ids, kvm)?;
    // Changing ids made the kernel forget that we end with our parent.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(failure(Attempt::ChangeIds, ""))
}

fn change_ids(ids: Ids, kvm: bool) -> Result<(), SetupError> {
    let step = || failure(Attempt::ChangeIds, "");
    let (uid, gid) = (Uid::from_raw(ids.uid), Gid::from_raw(ids.gid));
    set_thread_groups(&kvm_group(kvm)).map_err(step())?;
    set_thread_res_gid(gid, gid, gid).map_err(step())?;
    set_thread_res_uid(uid, uid, uid).map_err(step())
}

/// The group that may use `/dev/kvm`, for a build that may.
fn kvm_group(kvm: bool) -> Vec<Gid> {
    let device = kvm.then(|| rustix::fs::stat("/dev/kvm").ok()).flatten();
    device
        .map(|stat| vec![Gid::from_raw(stat.st_gid)])
        .unwrap_or_default()
}

/// Maps one user and one group, which a process may do for its own.
fn map(inside: Ids, outside: Ids) -> Result<(), SetupError> {
    let lines = [
        ("/proc/self/setgroups", "deny".to_owned()),
        (
            "/proc/self/uid_map",
            format!("{} {} 1", inside.uid, outside.uid),
        ),
        (
            "/proc/self/gid_map",
            format!("{} {} 1", inside.gid, outside.gid),
        ),
    ];
    for (file, line) in lines {
        fs::write(file, line).map_err(|error| refused(Attempt::MapIds, file)(&error))?;
    }
    Ok(())
}

/// Gives up all privileges, and those that a file could give.
pub(super) fn drop_privileges() -> Result<(), SetupError> {
    let none = CapabilitySet::empty();
    set_no_new_privs(true)
        .and_then(|()| {
            let sets = CapabilitySets {
                effective: none,
                permitted: none,
                inheritable: none,
            };
            set_capabilities(None, sets)
        })
        .map_err(failure(Attempt::DropPrivileges, ""))
}
