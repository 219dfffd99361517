//! One machine as configured, whichever file it came from.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use super::host_key::HostKey;
use super::position::Position;
use super::sandbox_path::SandboxPath;
use musher_scheduler::{MachineId, MachineSpec, SpeedFactor};

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
    /// The private key that ssh is given.
    pub ssh_key: Option<PathBuf>,
    /// The key that the host must show.
    pub public_host_key: Option<HostKey>,
    /// The program to run there instead of `nix-daemon` or `nix-store`, as
    /// words separated by spaces.
    pub remote_program: Option<String>,
    /// What builds see besides their inputs, if not what the settings say;
    /// for machines of kind `musher` only.
    pub sandbox_paths: Option<Vec<SandboxPath>>,
    /// Where the machine is defined.
    pub origin: Position,
}

/// How a machine is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connect {
    /// By a Nix store URL, mostly `ssh://` or `ssh-ng://`.
    Store(String),
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

/// The protocol that drives a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Nix's worker protocol, `nix-daemon --stdio` over ssh.
    Worker,
    /// Nix's serve protocol, `nix-store --serve --write` over ssh.
    Serve,
}

/// A machine that this release cannot build on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotDrivable {
    /// Its kind is `musher`.
    #[error("machine `{name}` is of kind `musher`, which this release cannot drive yet")]
    MusherWorker {
        /// The machine's name.
        name: MachineName,
        /// Whether a change of `kind` alone would do.
        over_ssh: bool,
    },
    /// It is not reached by ssh.
    #[error("machine `{name}` has stock Nix but is not reached by ssh (connect is {connect})")]
    NotSsh {
        /// The machine's name.
        name: MachineName,
        /// How it is reached.
        connect: Connect,
    },
}

impl NotDrivable {
    /// Advice the user can act on.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::MusherWorker { over_ssh: true, .. } => {
                "set `kind = \"nix\"` if the host has stock Nix".to_owned()
            }
            Self::MusherWorker {
                over_ssh: false, ..
            }
            | Self::NotSsh { .. } => {
                "connect by `ssh://` or `ssh-ng://` to a host with stock Nix".to_owned()
            }
        })
    }
}

impl Machine {
    /// What the scheduler needs to know of it.
    pub fn spec(&self) -> MachineSpec {
        MachineSpec {
            id: MachineId::from(self.name.as_str()),
            systems: self.systems.clone(),
            slots: self.max_jobs,
            speed_factor: self.speed_factor,
            supported_features: self.supported_features.clone(),
            mandatory_features: self.mandatory_features.clone(),
        }
    }

    /// The protocol to speak with this machine, or why there is none yet.
    pub fn protocol(&self) -> Result<Protocol, NotDrivable> {
        let scheme = self.connect.scheme();
        match (self.kind, scheme) {
            (MachineKind::Nix, Some("ssh-ng")) => Ok(Protocol::Worker),
            (MachineKind::Nix, Some("ssh")) => Ok(Protocol::Serve),
            (MachineKind::Nix, _) => Err(NotDrivable::NotSsh {
                name: self.name.clone(),
                connect: self.connect.clone(),
            }),
            (MachineKind::Musher, scheme) => Err(NotDrivable::MusherWorker {
                name: self.name.clone(),
                over_ssh: scheme == Some("ssh"),
            }),
        }
    }
}

impl Connect {
    /// The scheme of its store URL, if it is reached by one that has one.
    pub fn scheme(&self) -> Option<&str> {
        match self {
            Self::Store(url) => url.split_once("://").map(|(scheme, _)| scheme),
            Self::Local | Self::Exec(_) => None,
        }
    }
}

impl fmt::Display for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(url) => f.write_str(url),
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

/// A machine's name: letters, digits, `.`, `_`, `-` and `:`, the first of
/// them a letter, a digit or `_`. It serves as a file name and as an argument.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MachineName(String);

pub(super) const MACHINE_NAME: &str =
    "letters, digits, `.`, `_`, `-` and `:`, beginning with a letter, a digit or `_`";

impl MachineName {
    /// Reads a name; none if a character is not allowed.
    pub fn parse(text: &str) -> Option<Self> {
        let first = text.chars().next()?;
        let starts_well = first.is_ascii_alphanumeric() || first == '_';
        (starts_well && text.chars().all(allowed)).then(|| Self(text.to_owned()))
    }

    /// A name from any text, most of all a host's: what is not allowed
    /// becomes `_`.
    pub(super) fn from_host(host: &str) -> Self {
        let bare = host.trim_start_matches(['[', '/', '.', '-']);
        let bare = bare.trim_end_matches(']');
        let name: String = bare
            .chars()
            .map(|c| if allowed(c) { c } else { '_' })
            .collect();
        Self::parse(&name).unwrap_or_else(|| Self(format!("_{name}")))
    }

    /// This name with a number behind it.
    pub(super) fn numbered(&self, number: usize) -> Self {
        Self(format!("{}-{number}", self.0))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':')
}

impl fmt::Display for MachineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_as_file_names_and_arguments() {
        for good in ["bigbox", "b1.example.org", "fe80::1", "_x"] {
            assert!(MachineName::parse(good).is_some(), "{good}");
        }
        for bad in ["", "-v", ".", "..", "a/b", "a b", "é", "%h"] {
            assert!(MachineName::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn hosts_become_names() {
        let name = |host| MachineName::from_host(host).to_string();
        assert_eq!(name("b1.example.org"), "b1.example.org");
        assert_eq!(name("[fe80::1%eth0]"), "fe80::1_eth0");
        assert_eq!(name("/srv/store"), "srv_store");
        assert_eq!(name(""), "_");
    }
}
