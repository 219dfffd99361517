//! What an executor asks of a sandbox. Says what a build shall see, in the
//! executor's words; how that is made is in `plan`.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::limits::Limits;
use crate::raw;

/// One build program and the world it runs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Whether there is a sandbox at all.
    pub isolation: Isolation,
    /// The build program, as the program itself would name it.
    pub program: PathBuf,
    /// Its whole argument vector: the first is what it is called by.
    pub args: Vec<OsString>,
    /// Its whole environment, in this order.
    pub env: Vec<(OsString, OsString)>,
    /// The store as the build sees it. Unused without isolation.
    pub store: StoreView,
    /// A directory on this machine that is empty, belongs to this process and
    /// lies on the store's file system. The build's own store directory is
    /// made in it, see [`Request::own_store`], so that outputs can be renamed
    /// from there. Whoever made it removes it.
    pub scratch: PathBuf,
    /// The build's working directory on this machine. It belongs to the ids
    /// that the build runs as.
    pub build_dir: PathBuf,
    /// Where the build sees that directory, `/build` in Nix. Without isolation
    /// the program starts in `build_dir`, and this is not looked at.
    pub build_dir_inside: PathBuf,
    /// More of this machine that the build sees: `sandbox-paths`, `/bin/sh`, the
    /// program that serves builtins.
    pub binds: Vec<Bind>,
    /// What of the network there is.
    pub network: Network,
    /// Who the build is on this machine.
    pub identity: Identity,
    /// Who the build believes to be: 1000 and 100 in Nix.
    pub inside: Ids,
    /// For which machine the kernel pretends to be one.
    pub personality: Personality,
    /// Whether `/dev/kvm` is there.
    pub kvm: bool,
    /// Whether system calls that make what a store cannot hold (setuid bits,
    /// extended attributes, ACLs) fail, as with Nix's `filter-syscalls`.
    pub filter_syscalls: bool,
    /// The size of `/dev/shm`, in the words of tmpfs: `50%` in Nix.
    pub shm_size: String,
    /// What the build may use up.
    pub limits: Limits,
    /// The control group that it joins, the files to write its id to.
    pub cgroup: Vec<PathBuf>,
}

impl Request {
    /// Where outputs lie on this machine: the directory that the build sees as
    /// its store directory. Apart from outputs it holds the empty files and
    /// directories that inputs were mounted on, and links that are inputs.
    pub fn own_store(&self) -> PathBuf {
        self.scratch.join("store")
    }
}

/// Whether a build is shut off from the machine it runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// Namespaces, a root directory of its own, ids of its own.
    Full,
    /// None: the program runs as this process's user, or with the ids of its
    /// slot, and sees what that user sees. Its processes are still ended with it.
    None,
}

/// What a build sees of a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreView {
    /// The store directory, as the build names it.
    pub dir: PathBuf,
    /// Where that directory lies on this machine.
    pub real: PathBuf,
    /// The names below it that the build sees: the closure of its inputs,
    /// `<hash>-<name>` each.
    pub inputs: BTreeSet<String>,
}

/// A file or directory of this machine that a build sees. A symbolic link is
/// copied, as in Nix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Bind {
    /// Its absolute path on this machine.
    #[serde(with = "raw")]
    pub source: PathBuf,
    /// Its absolute path for the build.
    #[serde(with = "raw")]
    pub target: PathBuf,
    /// Whether the build may change it, where its ids may.
    pub writable: bool,
    /// Whether it is no error when there is no such file.
    pub optional: bool,
}

impl Bind {
    /// The same path on both sides, read-only and required.
    pub fn same(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self {
            source: path.clone(),
            target: path,
            writable: false,
            optional: false,
        }
    }

    /// What a setting of the form `TARGET[=SOURCE][?]` says, as in Nix's
    /// `sandbox-paths`. Read-only: who wants to write says so apart.
    pub fn parse(text: &str) -> Self {
        let (text, optional) = match text.strip_suffix('?') {
            Some(text) => (text, true),
            None => (text, false),
        };
        let (target, source) = text.split_once('=').unwrap_or((text, text));
        Self {
            source: source.into(),
            target: target.into(),
            writable: false,
            optional,
        }
    }
}

/// What of the network a build sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    /// Its own loopback device, and nothing else.
    Loopback,
    /// The machine's, for fixed-output derivations, and how to find names there.
    Host {
        /// The file of certificates to trust, seen as
        /// `/etc/ssl/certs/ca-certificates.crt`.
        certificates: Option<PathBuf>,
    },
}

/// Who a build is on the machine it runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Identity {
    /// This process's own user and group, which are not root.
    Rootless,
    /// Ids that belong to nobody else on the machine; needs root.
    Slot(Ids),
}

/// A user and a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ids {
    /// The user's id.
    pub uid: u32,
    /// The group's id.
    pub gid: u32,
}

impl Ids {
    /// The ids that Nix's builds see.
    pub const NIXBLD: Self = Self {
        uid: 1000,
        gid: 100,
    };
}

/// Which machine the kernel claims to be (`uname -m`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Personality {
    /// What it is.
    Native,
    /// Its 32-bit sibling: `i686-linux` on x86-64, 32-bit ARM on aarch64.
    Linux32,
}
