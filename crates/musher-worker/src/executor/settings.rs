//! What an executor is given once, for all builds.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::path::PathBuf;

use musher_sandbox::{Bind, Ids, Launcher, Limits};

use super::Sandboxing;

/// The first of the user ids that builds run as where we are root; each slot
/// has one. Far from those of people, services, containers and Nix itself.
const FIRST_ID: u32 = 0x4d55_0000;

/// Who builds are on the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identities {
    /// The user that the executor runs as.
    Own,
    /// A user and a group of its own for every slot; needs root.
    Slots {
        /// The id of slot 0's user and group.
        first: u32,
    },
}

/// Where systems keep the certificates they trust.
const CERTIFICATES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Nix's `netrc-file`, where nobody sets it.
const NETRC: &str = "/etc/nix/netrc";

/// This process's variables, as far as they are text.
fn environment() -> BTreeMap<String, String> {
    let variables = std::env::vars_os();
    variables
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

fn certificates() -> Option<PathBuf> {
    CERTIFICATES
        .iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
}

impl Identities {
    /// What fits the user this process runs as.
    pub fn detect() -> Self {
        match rustix::process::geteuid().is_root() {
            true => Self::Slots { first: FIRST_ID },
            false => Self::Own,
        }
    }

    /// The ids of builds in `slot`, where they are not the executor's own.
    pub(crate) fn of_slot(self, slot: u32, sandboxed: bool) -> Option<Ids> {
        match self {
            Self::Own => None,
            Self::Slots { first } => {
                let uid = first.saturating_add(slot);
                let gid = if sandboxed { uid } else { first };
                Some(Ids { uid, gid })
            }
        }
    }

    /// The group of all builds without a sandbox, where it is not the
    /// executor's own: it is let into the store directory.
    pub(crate) fn group(self) -> Option<u32> {
        match self {
            Self::Own => None,
            Self::Slots { first } => Some(first),
        }
    }
}

/// What an executor is given once, for all builds.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A directory of the executor's own, on the store's file system. Build
    /// directories are made below it, and what an earlier executor left there
    /// is removed.
    pub build_root: PathBuf,
    /// The systems the machine runs programs of, its own first.
    pub systems: Vec<String>,
    /// Its features.
    pub features: BTreeSet<String>,
    /// What `NIX_BUILD_CORES` says where an order does not.
    pub cores: NonZeroU32,
    /// Whether builds are shut off from the machine.
    pub sandboxing: Sandboxing,
    /// What every build sees of the machine, `/bin/sh` among it.
    pub sandbox_paths: Vec<Bind>,
    /// Who builds are on the machine.
    pub identities: Identities,
    /// How a process that makes a sandbox is started.
    pub launcher: Launcher,
    /// The program that serves as `builtin:…` inside the sandbox: one that
    /// needs no other file, and knows `builtin NAME`.
    pub builtins: Option<PathBuf>,
    /// Variables that `impureEnvVars` can ask for: in Nix those of its daemon.
    pub impure_env: BTreeMap<String, String>,
    /// Names and passwords for `builtin:fetchurl`, if there is such a file and we
    /// may read it.
    pub netrc: Option<PathBuf>,
    /// The certificates that fixed-output builds trust.
    pub certificates: Option<PathBuf>,
    /// Whether system calls that make what a store cannot hold fail.
    pub filter_syscalls: bool,
    /// The size of `/dev/shm`, in the words of tmpfs.
    pub shm_size: String,
    /// What each build may use up.
    pub limits: Limits,
}

impl Settings {
    /// Settings for builds below `build_root`, by `launcher`: this machine's own
    /// system and certificates, this process's environment for those who ask
    /// for it, and Nix's defaults otherwise.
    pub fn new(build_root: PathBuf, launcher: Launcher) -> Self {
        Self {
            build_root,
            systems: vec![format!("{}-linux", std::env::consts::ARCH)],
            features: BTreeSet::new(),
            cores: std::thread::available_parallelism().map_or(NonZeroU32::MIN, |cores| {
                u32::try_from(cores.get())
                    .ok()
                    .and_then(NonZeroU32::new)
                    .unwrap_or(NonZeroU32::MIN)
            }),
            sandboxing: Sandboxing::Always,
            sandbox_paths: Vec::new(),
            identities: Identities::detect(),
            launcher,
            builtins: None,
            impure_env: environment(),
            netrc: Some(PathBuf::from(NETRC)),
            certificates: certificates(),
            filter_syscalls: true,
            shm_size: "50%".to_owned(),
            limits: Limits::default(),
        }
    }
}
