//! One machine as configured, whichever file it came from.

use std::collections::BTreeSet;
use std::fmt;

use musher_scheduler::{MachineId, MachineSpec, SpeedFactor};
use musher_store::url::{SshProtocol, SshStore, StoreUrl};

use super::machine_name::MachineName;
use super::position::Position;
use super::sandbox_path::SandboxPath;

/// A machine that may build.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    /// What the machine is called; unique in a configuration.
    pub name: MachineName,
    /// How it is reached.
    pub connect: Connect,
    /// What answers there.
    pub kind: MachineKind,
    /// The systems it builds for.
    pub systems: BTreeSet<String>,
    /// How many builds it runs at once; 0 keeps it idle.
    pub max_jobs: u32,
    /// How fast it is beside the others.
    pub speed_factor: SpeedFactor,
    /// The system features it offers.
    pub supported_features: BTreeSet<String>,
    /// The features of which a build must ask for every one to be placed
    /// here. They count as supported too.
    pub mandatory_features: BTreeSet<String>,
    /// What builds see besides their inputs, if not what the settings say;
    /// for machines of kind `musher` only.
    pub sandbox_paths: Option<Vec<SandboxPath>>,
    /// Where the machine is defined.
    pub origin: Position,
}

/// How a machine is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there is one a machine")]
pub enum Connect {
    /// By a Nix store URL, mostly `ssh://` or `ssh-ng://`; keys and the
    /// program to run there are part of it, whichever way they were written.
    Store(StoreUrl),
    /// It is this machine: a child process.
    Local,
    /// By a command whose standard input and output lead there; its words,
    /// at least one.
    Exec(Vec<String>),
}

/// What answers at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MachineKind {
    /// A worker that musher brings along.
    Musher,
    /// Stock Nix.
    Nix,
}

/// Who is asked to build on a machine, and how they are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driven<'a> {
    /// Its stock Nix: the store to build in, and so the protocol to speak.
    Nix(&'a SshStore),
    /// Its worker of ours, through ssh.
    SshWorker(&'a SshStore),
    /// A worker of ours, by a command that leads to it.
    ExecWorker(&'a [String]),
    /// A worker that is a child of the coordinator.
    LocalWorker,
}

/// A machine that cannot be built on as it is configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotDrivable {
    /// Its kind cannot be reached in this way.
    #[error("machine `{name}` is of kind `{kind}` but is reached by `{connect}`")]
    WrongWay {
        /// The machine's name.
        name: MachineName,
        /// What answers there.
        kind: MachineKind,
        /// How it is reached.
        connect: String,
    },
}

impl NotDrivable {
    /// Advice the user can act on.
    pub fn help(&self) -> Option<String> {
        let Self::WrongWay { kind, .. } = self;
        Some(match kind {
            MachineKind::Nix => {
                "connect by `ssh://` or `ssh-ng://` to a host with stock Nix".to_owned()
            }
            MachineKind::Musher => {
                "connect by `ssh://`, `local` or a command that leads to `musher worker --stdio`"
                    .to_owned()
            }
        })
    }
}

impl Machine {
    /// What the scheduler needs to know of it. Every worker of ours can build
    /// what has its address by its content.
    pub fn spec(&self) -> MachineSpec {
        let mut supported_features = self.supported_features.clone();
        if self.kind == MachineKind::Musher {
            supported_features.insert("ca-derivations".to_owned());
        }
        MachineSpec {
            id: MachineId::from(self.name.as_str()),
            systems: self.systems.clone(),
            slots: self.max_jobs,
            speed_factor: self.speed_factor,
            supported_features,
            mandatory_features: self.mandatory_features.clone(),
            memory: None,
        }
    }

    /// Who is asked to build here, or why nobody can be.
    pub fn driven(&self) -> Result<Driven<'_>, NotDrivable> {
        match (self.kind, &self.connect, self.connect.ssh()) {
            (MachineKind::Nix, _, Some(store)) => Ok(Driven::Nix(store)),
            (MachineKind::Musher, _, Some(store)) => Ok(Driven::SshWorker(store)),
            (MachineKind::Musher, Connect::Exec(words), None) => Ok(Driven::ExecWorker(words)),
            (MachineKind::Musher, Connect::Local, None) => Ok(Driven::LocalWorker),
            (kind, _, None) => Err(NotDrivable::WrongWay {
                name: self.name.clone(),
                kind,
                connect: self.connect.place(),
            }),
        }
    }
}

impl Connect {
    /// The store on another host, if it is reached by ssh.
    pub fn ssh(&self) -> Option<&SshStore> {
        match self {
            Self::Store(StoreUrl::Ssh(store)) => Some(store),
            Self::Store(StoreUrl::Daemon(_) | StoreUrl::Auto(_) | StoreUrl::Local(_))
            | Self::Local
            | Self::Exec(_) => None,
        }
    }

    /// Where it leads in few words, without keys and other parameters.
    pub fn place(&self) -> String {
        match self.ssh() {
            Some(store) => format!("{}://{}", store.protocol.scheme(), store.authority),
            None => self.to_string(),
        }
    }

    /// Whether only stock Nix can answer there.
    pub(super) fn is_worker_protocol(&self) -> bool {
        self.ssh()
            .is_some_and(|store| store.protocol == SshProtocol::Worker)
    }
}

impl fmt::Display for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(url) => url.fmt(f),
            Self::Local => f.write_str("local"),
            Self::Exec(words) => write!(f, "exec {}", words.join(" ")),
        }
    }
}

impl MachineKind {
    /// As `kind` spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Musher => "musher",
            Self::Nix => "nix",
        }
    }
}

impl fmt::Display for MachineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
