//! How a build ended, with everything known about it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use musher_protocol::types::{BuildResult, PathInfo};
use musher_sandbox::{Status, Usage};

/// Whose fault it is that a build came to nothing, where it is not its own:
/// elsewhere, or later, it may well succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No space was left on the disk of the store, or of the build directory.
    DiskFull,
    /// The kernel killed a process of the build for want of memory.
    OutOfMemory,
    /// The executor could not do its part.
    Ours,
}

/// How a build ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What a client of Nix is told.
    pub result: BuildResult,
    /// What is known of the outputs that are valid, by output name.
    pub outputs: BTreeMap<String, PathInfo>,
    /// What the build used; all zero if it did not run.
    pub usage: Usage,
    /// How the build program ended; none if it did not run.
    pub exit: Option<Status>,
    /// Whose fault a failure is, if not the build's.
    pub fault: Option<Fault>,
    /// Whether it ran in a sandbox; true if it did not run.
    pub sandboxed: bool,
    /// Where its build directory was kept.
    pub kept: Option<PathBuf>,
}
