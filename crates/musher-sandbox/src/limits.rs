//! What a build may use up before the kernel, or the sandbox, stops it.

use serde::{Deserialize, Serialize};

/// Limits of one build. `None` is no limit of ours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Processes and threads at once. Held by the control group where there is
    /// one, and by `RLIMIT_NPROC`. Before Linux 5.14 the latter counts all of
    /// the user's processes, not only the build's.
    pub processes: Option<u64>,
    /// Bytes of memory. Needs a control group; without one nothing holds it.
    pub memory: Option<u64>,
    /// Files that a process has open at once, until it asks for more: the soft
    /// limit, since the hard one is the machine's.
    pub open_files: Option<u64>,
    /// Bytes of one file.
    pub file_size: Option<u64>,
    /// Bytes that must stay free on the file system that the build writes to.
    /// The build is ended when it leaves less, see [`Cut::DiskReserve`](crate::Cut).
    pub disk_reserve: Option<u64>,
}
