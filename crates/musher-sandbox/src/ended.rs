//! How a build program ended, and what it used until then.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What became of a build program that was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// How its process ended.
    pub status: Status,
    /// Why it was ended from outside, if it was.
    pub cut: Option<Cut>,
    /// What it and all its children used.
    pub usage: Usage,
    /// Whether it ran in a sandbox. Not, only where that was asked for.
    pub sandboxed: bool,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// By itself, with this code.
    Exited(i32),
    /// By this signal.
    Killed(i32),
}

impl Status {
    /// Whether it ended by itself with code 0.
    pub fn is_success(self) -> bool {
        self == Self::Exited(0)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit code {code}"),
            Self::Killed(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// Why the sandbox ended a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cut {
    /// Whoever started it said so, or is gone.
    Stopped,
    /// It left less of the disk free than [`Limits::disk_reserve`](crate::Limits).
    DiskReserve,
}

/// What the processes of a build used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// From the start of the set-up to the end of the last process.
    pub wall: Duration,
    /// Time on a processor in the program.
    pub cpu_user: Duration,
    /// Time on a processor in the kernel for it.
    pub cpu_system: Duration,
    /// The most memory it held at once, in bytes: of all its processes together
    /// with a control group, of its largest one without.
    pub peak_memory: Option<u64>,
    /// Bytes sent towards disks.
    pub written: Option<u64>,
    /// Whether the kernel killed one of its processes for memory. Certain with a
    /// control group; without one it means that the build was killed while the
    /// machine's count of such deaths rose.
    pub oom_killed: bool,
    /// Who counted.
    pub source: Accounting,
}

/// Who counted what a build used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Accounting {
    /// A control group of the unified hierarchy.
    CgroupV2,
    /// Control groups of version 1.
    CgroupV1,
    /// The kernel's books about each process: children whose parent ignores
    /// their end are missing.
    #[default]
    Rusage,
}

impl fmt::Display for Accounting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CgroupV2 => "cgroup v2",
            Self::CgroupV1 => "cgroup v1",
            Self::Rusage => "rusage",
        })
    }
}
