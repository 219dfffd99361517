//! What can be wrong with the configuration, where, and what to do about it.

use std::path::{Path, PathBuf};
use std::{fmt, io};

use musher_store::url::{HostKeyError, UrlError};

use super::machine::Machine;
use super::position::Position;

/// A configuration that cannot be used.
#[derive(Debug)]
pub struct ConfigError {
    /// The place of the mistake; none if the file itself cannot be read.
    pub at: Option<Position>,
    /// What is wrong there.
    pub problem: Box<Problem>,
}

/// What is wrong with a configuration file.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The file could not be read at all.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Not TOML, or a key given twice.
    #[error("{message}")]
    Syntax {
        /// What the TOML parser expected.
        message: String,
    },
    /// A key that nothing reads.
    #[error("unknown {section} key `{key}`")]
    UnknownKey {
        /// The table it stands in: `settings` or `machine`.
        section: &'static str,
        /// The key as written.
        key: String,
        /// What the user may have meant.
        advice: String,
    },
    /// A key whose value has the wrong TOML type.
    #[error("`{key}` is {found}, not {expected}")]
    WrongType {
        /// The key.
        key: String,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// A value of the right type that makes no sense.
    #[error("`{key}` cannot be `{value}`: expected {expected}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// The value as written.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A key that must be there and is not.
    #[error("{section} has no `{key}`")]
    MissingKey {
        /// The table: `settings` or `machine`.
        section: &'static str,
        /// The key.
        key: &'static str,
    },
    /// Two machines of one name.
    #[error("machine `{name}` is already defined at {first}")]
    DuplicateMachine {
        /// The name.
        name: String,
        /// Where the other one stands.
        first: Position,
    },
    /// `kind = "musher"` with a connection that only stock Nix answers.
    #[error("`ssh-ng://` speaks to stock Nix, so `kind` cannot be `musher`")]
    KindMismatch,
    /// A machine that leads back to this coordinator.
    #[error("machine `{url}` is an entrance of musher itself")]
    OwnEntrance {
        /// Its URL.
        url: String,
    },
    /// A store URL that does not parse.
    #[error("bad store URL `{url}`")]
    BadUrl {
        /// The URL as written.
        url: String,
        /// What is wrong with it.
        #[source]
        source: UrlError,
    },
    /// A key that says how ssh logs in, for a machine not reached by ssh.
    #[error("`{key}` has no meaning for a machine that is not reached by ssh")]
    OnlyForSsh {
        /// The key.
        key: &'static str,
    },
    /// A host key that ssh could not use.
    #[error("bad host key `{text}`")]
    BadHostKey {
        /// The key as written, shortened.
        text: String,
        /// What is wrong with it.
        #[source]
        source: HostKeyError,
    },
    /// A column of a line in Nix's machines format.
    #[error("column {number} ({field}) cannot be `{text}`: expected {expected}")]
    BadColumn {
        /// The column, counted from 1.
        number: usize,
        /// Nix's name for it.
        field: &'static str,
        /// The text found.
        text: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A machines file that includes itself, perhaps through others.
    #[error("`@{}` includes a file that is being read", path.display())]
    IncludeLoop {
        /// The file included again.
        path: PathBuf,
    },
}

impl Problem {
    pub(super) fn bad_host_key(text: &str, source: HostKeyError) -> Self {
        const SHOWN: usize = 24;
        let mut shown: String = text.chars().take(SHOWN).collect();
        if shown.len() < text.len() {
            shown.push('…');
        }
        Self::BadHostKey {
            text: shown,
            source,
        }
    }

    pub(super) fn at(self, at: Position) -> ConfigError {
        ConfigError {
            at: Some(at),
            problem: Box::new(self),
        }
    }
}

impl ConfigError {
    pub(super) fn read(path: &Path, source: io::Error) -> Self {
        Self {
            at: None,
            problem: Box::new(Problem::Read {
                path: path.to_path_buf(),
                source,
            }),
        }
    }

    pub(super) fn duplicate(machine: &Machine, first: Position) -> Self {
        Problem::DuplicateMachine {
            name: machine.name.to_string(),
            first,
        }
        .at(machine.origin.clone())
    }

    /// Whether the files are at fault, rather than the disk they are on.
    pub fn is_users(&self) -> bool {
        if let Problem::Read { source, .. } = &*self.problem {
            let kind = source.kind();
            matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::IsADirectory)
        } else {
            true
        }
    }

    /// Advice the user can act on, if there is any.
    pub fn help(&self) -> Option<String> {
        match &*self.problem {
            Problem::UnknownKey { advice, .. } => Some(advice.clone()),
            Problem::DuplicateMachine { .. } => Some(
                "every machine needs a name of its own; one from a machines file is named after \
                 its host"
                    .to_owned(),
            ),
            Problem::KindMismatch => Some(
                "remove `kind`, or use `ssh://` for a host where musher brings its own worker"
                    .to_owned(),
            ),
            Problem::OwnEntrance { .. } => Some(
                "do not include the builders file that `musher setup` wrote for Nix".to_owned(),
            ),
            Problem::BadHostKey { source, .. } => Some(source.help()),
            Problem::BadUrl { source, .. } => source.help(),
            Problem::Read { .. }
            | Problem::Syntax { .. }
            | Problem::WrongType { .. }
            | Problem::BadValue { .. }
            | Problem::MissingKey { .. }
            | Problem::OnlyForSsh { .. }
            | Problem::BadColumn { .. }
            | Problem::IncludeLoop { .. } => None,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(at) = &self.at {
            write!(f, "{at}: ")?;
        }
        self.problem.fmt(f)
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The problem is part of this error's own text: go on to its cause.
        self.problem.source()
    }
}
