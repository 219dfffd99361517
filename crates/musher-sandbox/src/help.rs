//! What a user can do about a set-up that failed. The advice follows from what
//! was attempted and what the kernel said; `probe` looks at the machine itself.

use rustix::io::Errno;

use crate::error::{Attempt, SetupError};

const NAMESPACES: &str = "see what the machine refuses with `musher machine test`; common causes \
     are the settings kernel.unprivileged_userns_clone = 0, user.max_user_namespaces = 0 and \
     kernel.apparmor_restrict_unprivileged_userns = 1, or a container that forbids it";

const PROC: &str = "a container that hides parts of its own /proc makes the kernel refuse a new \
     one; start the container with an unmasked /proc (docker: --security-opt \
     systempaths=unconfined, podman: --security-opt unmask=ALL)";

/// What needs the kernel to grant a user namespace, or comes right after.
const OF_NAMESPACES: [Attempt; 5] = [
    Attempt::UserNamespace,
    Attempt::MapIds,
    Attempt::Supervise,
    Attempt::Namespaces,
    Attempt::MountRoot,
];

/// Advice for one attempt and one answer of the kernel.
const ADVICE: [(Attempt, Errno, &str); 5] = [
    (
        Attempt::FindSource,
        Errno::NOENT,
        "a sandbox path that may be missing ends in `?`",
    ),
    (
        Attempt::MakeTarget,
        Errno::LOOP,
        "one of its parents is a symbolic link inside the sandbox",
    ),
    (
        Attempt::Execute,
        Errno::NOENT,
        "the build program, or the interpreter that it names, is not among the inputs",
    ),
    (
        Attempt::Execute,
        Errno::NOEXEC,
        "it is for another architecture, or no program at all",
    ),
    (
        Attempt::Execute,
        Errno::ACCESS,
        "it is not executable, or leads to the program that makes sandboxes",
    ),
];

impl SetupError {
    /// Advice the user can act on, if there is any.
    pub fn help(&self) -> Option<String> {
        let errno = Errno::from_raw_os_error(self.errno);
        let refused = matches!(
            errno,
            Errno::PERM | Errno::ACCESS | Errno::NOSPC | Errno::USERS
        );
        let told = ADVICE
            .iter()
            .find(|(of, why, _)| (*of, *why) == (self.attempt, errno));
        let help = match told {
            Some((_, _, help)) => help,
            None if refused && self.attempt == Attempt::MountProc => PROC,
            None if (refused || errno == Errno::INVAL) && OF_NAMESPACES.contains(&self.attempt) => {
                NAMESPACES
            }
            None => return None,
        };
        Some(help.to_owned())
    }
}
