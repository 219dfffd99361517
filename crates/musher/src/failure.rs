//! What stopped a command: an error of any library, whose fault it is, and what
//! to do about it. A library's errors become failures here and nowhere else.

use std::error::Error;
use std::io;
use std::process::ExitCode;

use musher_coordinator::config::{ConfigError, ImportError};
use musher_coordinator::setup::{EntranceError, ReplaceError, SetupError};

use crate::places::PlacesError;
use crate::ui::plain;

/// An error on its way to the user.
#[derive(Debug)]
pub(crate) struct Failure {
    fault: Fault,
    error: Box<dyn Error + Send + Sync>,
    help: Option<String>,
}

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The command line, a file or a request is wrong.
    User,
    /// Disk, network or another program failed; another time it may work.
    Environment,
    /// A signal asked to stop: its number.
    Interrupted(u8),
    /// Nobody is reading standard output any more, so there is nothing to say.
    OutputClosed,
}

impl Failure {
    /// A mistake of the user's.
    pub(crate) fn user(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Fault::User, error)
    }

    /// A failure of what is around.
    pub(crate) fn environment(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Fault::Environment, error)
    }

    /// Output that could not be printed.
    pub(crate) fn output(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::new(Fault::OutputClosed, error)
        } else {
            Self::environment(OutputError { source: error })
        }
    }

    /// A signal that asked to stop, by its number.
    pub(crate) fn interrupted(signal: u8) -> Self {
        Self::new(Fault::Interrupted(signal), "interrupted")
    }

    fn new(fault: Fault, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            fault,
            error: error.into(),
            help: None,
        }
    }

    /// A mistake of the user's, or else a failure of what is around.
    pub(crate) fn of(is_users: bool, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        if is_users {
            Self::user(error)
        } else {
            Self::environment(error)
        }
    }

    /// The same with advice.
    pub(crate) fn help(mut self, help: impl Into<Option<String>>) -> Self {
        self.help = help.into();
        self
    }

    /// The code this process ends with.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self.fault {
            Fault::User => ExitCode::from(2),
            Fault::Environment | Fault::OutputClosed => ExitCode::from(3),
            // As a shell has it.
            Fault::Interrupted(signal) => ExitCode::from(128 + signal),
        }
    }

    /// Whether the user should hear of it.
    pub(crate) fn is_worth_telling(&self) -> bool {
        !matches!(self.fault, Fault::OutputClosed | Fault::Interrupted(_))
    }

    /// The error's text, then those of its causes. Some are other programs' words.
    pub(crate) fn texts(&self) -> Vec<String> {
        let mut texts = vec![plain(&self.error.to_string())];
        let mut cause = self.error.source();
        while let Some(error) = cause {
            texts.push(plain(&error.to_string()));
            cause = error.source();
        }
        texts
    }

    /// What the user can do.
    pub(crate) fn advice(&self) -> Option<&str> {
        self.help.as_deref()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("cannot print the output")]
struct OutputError {
    source: io::Error,
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let help = error.help();
        Self::of(error.is_users(), error).help(help)
    }
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Self {
        let help = error.help();
        Self::user(error).help(help)
    }
}

impl From<SetupError> for Failure {
    fn from(error: SetupError) -> Self {
        let help = error.help();
        Self::of(error.is_users(), error).help(help)
    }
}

impl From<EntranceError> for Failure {
    fn from(error: EntranceError) -> Self {
        let help = error.help();
        Self::user(error).help(help)
    }
}

impl From<ReplaceError> for Failure {
    fn from(error: ReplaceError) -> Self {
        let help = error.help();
        Self::environment(error).help(help)
    }
}

impl From<PlacesError> for Failure {
    fn from(error: PlacesError) -> Self {
        let help = error.help();
        Self::environment(error).help(help)
    }
}
