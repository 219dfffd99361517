//! What a build program inherits that is neither a file nor an id: limits,
//! signals, file mask, personality, host name, loopback device, keys.

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{failure, sys};
use crate::error::{Attempt, SetupError};
use crate::limits::Limits;
use crate::request::Personality;

/// `PER_LINUX32` of the kernel.
const LINUX32: i32 = 0x8;

/// The names that Nix gives every build: the kernel's own default for the second.
pub(super) fn name_host() -> Result<(), SetupError> {
    rustix::system::sethostname(b"localhost")
        .and_then(|()| rustix::system::setdomainname(b"(none)"))
        .map_err(failure(Attempt::HostName, ""))
}

/// A new network has its loopback device down.
pub(super) fn raise_loopback() -> Result<(), SetupError> {
    use std::os::fd::AsFd as _;
    socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .and_then(|socket| sys::loopback_up(socket.as_fd()))
    .map_err(failure(Attempt::Loopback, ""))
}

/// The caller's session keyring may hold tickets and passwords.
pub(super) fn leave_keys() -> Result<(), SetupError> {
    match sys::new_session_keyring() {
        // A kernel without keys, or a container that forbids them.
        Ok(()) | Err(Errno::NOSYS | Errno::PERM | Errno::ACCESS) => Ok(()),
        Err(errno) => Err(failure(Attempt::Keyring, "")(errno)),
    }
}

/// No core files unless the build raises that itself, as in Nix, and the limits
/// of the plan.
pub(super) fn limit(limits: &Limits) -> Result<(), SetupError> {
    let core = getrlimit(Resource::Core);
    let set = |resource, limit| setrlimit(resource, limit).map_err(failure(Attempt::Limit, ""));
    set(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: core.maximum,
        },
    )?;
    if let Some(most) = limits.open_files {
        let found = getrlimit(Resource::Nofile);
        let most = found.maximum.map_or(most, |hard| hard.min(most));
        set(
            Resource::Nofile,
            Rlimit {
                current: Some(most),
                ..found
            },
        )?;
    }
    let wanted = [
        (Resource::Nproc, limits.processes),
        (Resource::Fsize, limits.file_size),
    ];
    for (resource, most) in wanted {
        if let Some(most) = most {
            let most = getrlimit(resource)
                .maximum
                .map_or(most, |hard| hard.min(most));
            set(
                resource,
                Rlimit {
                    current: Some(most),
                    maximum: Some(most),
                },
            )?;
        }
    }
    Ok(())
}

/// Addresses that do not vary from run to run, and the machine that is asked for.
pub(super) fn personality(personality: Personality) -> Result<(), SetupError> {
    let domain = match personality {
        Personality::Native => None,
        Personality::Linux32 => Some(LINUX32),
    };
    match sys::personality(domain, libc::ADDR_NO_RANDOMIZE) {
        // Some containers allow known values only; addresses then vary, as they
        // would with Nix.
        Err(Errno::PERM) if domain.is_none() => Ok(()),
        done => done.map_err(failure(Attempt::Personality, "")),
    }
}
