//! With the machine's network a build could reach the abstract sockets of other
//! programs there, and hand open files to another build through one: those
//! sockets belong to the network, not to a directory. Landlock keeps a build to
//! its own since Linux 6.12; before that nothing does, and `probe` says so.

use rustix::io::Errno;

use super::{failure, sys};
use crate::error::{Attempt, SetupError};

/// The version that knows scopes.
const SCOPES_SINCE: i64 = 6;

const SCOPE_ABSTRACT_UNIX_SOCKET: u64 = 1;
const SCOPE_SIGNAL: u64 = 2;

/// Whether this kernel can keep a build that has the machine's network from the
/// abstract sockets of other programs.
pub fn is_there() -> bool {
    sys::landlock_version().is_ok_and(|version| version >= SCOPES_SINCE)
}

/// Keeps this process and its children to abstract sockets of their own.
pub(super) fn scope() -> Result<(), SetupError> {
    if !is_there() {
        return Ok(());
    }
    match sys::landlock_scope(SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL) {
        // Compiled in, but switched off at boot.
        Ok(()) | Err(Errno::OPNOTSUPP) => Ok(()),
        Err(errno) => Err(failure(Attempt::Landlock, "")(errno)),
    }
}
