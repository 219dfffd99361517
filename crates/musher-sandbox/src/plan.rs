//! What a sandbox consists of, as data: every namespace, mount, id and limit in
//! the order in which they are made. `planner` decides it, `init` makes it so.

use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::limits::Limits;
use crate::raw;
use crate::request::{Bind, Identity, Ids, Isolation, Personality};

/// A sandbox, ready to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Whether there is a sandbox at all. Without one `steps` is empty.
    pub isolation: Isolation,
    /// Files to write the process's id to, so that a control group counts it.
    #[serde(with = "raw::list")]
    pub join: Vec<PathBuf>,
    /// Who the build is outside.
    pub identity: Identity,
    /// Who it is inside.
    pub inside: Ids,
    /// Whether the machine's network is kept, and not a new one made.
    pub host_network: bool,
    /// Where the new root directory is mounted while it is made.
    #[serde(with = "raw")]
    pub root: PathBuf,
    /// What is put below the new root directory, in order.
    pub steps: Vec<Step>,
    /// Which system calls to use for mounts.
    pub mounts: MountCalls,
    /// What the build may use up.
    pub limits: Limits,
    /// A file or directory on the file system that `limits.disk_reserve` is about.
    #[serde(with = "raw")]
    pub disk: PathBuf,
    /// The machine that the kernel claims to be.
    pub personality: Personality,
    /// Whether system calls are filtered.
    pub filter_syscalls: bool,
    /// Whether the group that owns `/dev/kvm` is kept.
    pub kvm: bool,
    /// What runs in the end. None is a rehearsal: everything is made, nothing run.
    pub program: Option<Program>,
}

/// One thing below the new root directory. Paths begin at that root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// A directory, with its parents.
    Directory {
        /// Where.
        #[serde(with = "raw")]
        path: PathBuf,
        /// Its permissions; parents get 0755.
        mode: u32,
    },
    /// A file with this text.
    File {
        /// Where.
        #[serde(with = "raw")]
        path: PathBuf,
        /// What is in it.
        text: String,
    },
    /// A symbolic link.
    Link {
        /// Where.
        #[serde(with = "raw")]
        path: PathBuf,
        /// What it says.
        #[serde(with = "raw")]
        to: PathBuf,
    },
    /// A directory of this machine, made if missing, where the build may write.
    Own {
        /// Which.
        #[serde(with = "raw")]
        source: PathBuf,
        /// Where.
        #[serde(with = "raw")]
        target: PathBuf,
        /// The permissions it gets, or those that it has.
        mode: Option<u32>,
    },
    /// A file or directory of this machine.
    Bind {
        /// Which, and where.
        #[serde(flatten)]
        bind: Bind,
        /// Whether a link is followed, and not copied.
        follow: bool,
    },
    /// A device of this machine, of the same name.
    Device {
        /// Which, for instance `/dev/null`.
        #[serde(with = "raw")]
        path: PathBuf,
    },
    /// Store paths, read-only, one by one.
    Inputs {
        /// The directory on this machine that holds them.
        #[serde(with = "raw")]
        source: PathBuf,
        /// The store directory.
        #[serde(with = "raw")]
        target: PathBuf,
        /// Their names in both.
        names: Vec<String>,
    },
    /// A fresh `/proc` of the build's own processes.
    Proc,
    /// A fresh `/dev/shm` of this size.
    Shm {
        /// In the words of tmpfs.
        size: String,
    },
    /// Fresh pseudo-terminals: `/dev/pts` and `/dev/ptmx`.
    Terminals,
    /// Makes a directory of the root's own unchangeable.
    Close {
        /// Which.
        #[serde(with = "raw")]
        path: PathBuf,
    },
}

/// Which system calls make mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MountCalls {
    /// Those of Linux 5.12 where the kernel has them, the old ones elsewhere.
    Detect,
    /// `mount(2)` in any case.
    Old,
}

/// What runs in a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The file.
    #[serde(with = "raw")]
    pub path: PathBuf,
    /// The whole argument vector.
    #[serde(with = "raw::list")]
    pub args: Vec<OsString>,
    /// The whole environment.
    #[serde(with = "raw::pairs")]
    pub env: Vec<(OsString, OsString)>,
    /// The directory that it starts in.
    #[serde(with = "raw")]
    pub dir: PathBuf,
}
