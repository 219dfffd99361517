//! Why a build did not begin, or did not end by itself.

use std::error::Error;
use std::io::ErrorKind;
use std::path::PathBuf;

use musher_protocol::types::BuildStatus;
use musher_sandbox::{CgroupError, PlanError, SandboxError};
use musher_store::local::LocalError;
use tokio::task::JoinError;

use super::reference_graph::GraphError;
use super::room::RoomError;
use super::{Fault, attributes, environment, kind};
use crate::outputs::{OutputError, RulesError, ScratchError};

/// What keeps a build from running its course. A build program that fails is
/// none of these.
#[derive(Debug, thiserror::Error)]
pub(super) enum BuildError {
    /// The derivation asks for what it cannot have here; in Nix's words.
    #[error("{0}")]
    Refused(String),
    /// The derivation's outputs make no sense.
    #[error("cannot build `{drv}`")]
    Kind {
        /// The derivation, absolute.
        drv: String,
        #[source]
        source: kind::KindError,
    },
    /// An attribute makes no sense.
    #[error("while parsing derivation '{drv}'")]
    Attributes {
        /// The derivation, absolute.
        drv: String,
        #[source]
        source: attributes::AttributesError,
    },
    /// What it says of its outputs makes no sense.
    #[error("while parsing derivation '{drv}'")]
    Rules {
        /// The derivation, absolute.
        drv: String,
        #[source]
        source: RulesError,
    },
    /// A reference graph cannot be told.
    #[error(transparent)]
    Graph(GraphError),
    /// No environment can be made.
    #[error("cannot build `{drv}`")]
    Environment {
        /// The derivation, absolute.
        drv: String,
        #[source]
        source: environment::EnvironmentError,
    },
    /// An output has no name.
    #[error(transparent)]
    Scratch(ScratchError),
    /// No program serves builtins here.
    #[error("no program for `builtin:` build programs is configured")]
    NoBuiltins,
    /// An argument that no program can be given.
    #[error("no sandbox can be planned for `{drv}`")]
    Plan {
        /// The derivation, absolute.
        drv: String,
        #[source]
        source: PlanError,
    },
    /// An input is not there.
    #[error("input `{path}` is not valid in this store")]
    MissingInput {
        /// The input, absolute.
        path: String,
    },
    /// The store did not do its part.
    #[error("cannot {attempt}")]
    Store {
        /// What was tried.
        attempt: &'static str,
        #[source]
        source: LocalError,
    },
    /// A directory could not be made.
    #[error(transparent)]
    Room(RoomError),
    /// No control group could be made.
    #[error(transparent)]
    Cgroup(CgroupError),
    /// No terminal could be made.
    #[error("cannot make a terminal for the build's log")]
    Terminal(#[source] std::io::Error),
    /// A file of the machine's could not be read.
    #[error("cannot read `{}`", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The sandbox was not made, or was lost.
    #[error("cannot run the build program of `{drv}`")]
    Sandbox {
        /// The derivation, absolute.
        drv: String,
        #[source]
        source: SandboxError,
    },
    /// The outputs could not be taken.
    #[error("cannot take the outputs of `{drv}`")]
    Outputs {
        /// The derivation, absolute.
        drv: String,
        #[source]
        source: Box<OutputError>,
    },
    /// A thread of ours panicked, or the process ends.
    #[error("the build was given up")]
    GivenUp(#[source] JoinError),
}

impl BuildError {
    /// A failure of the store's while `attempt` was tried.
    pub(super) fn store(attempt: &'static str) -> impl Fn(LocalError) -> Self {
        move |source| Self::Store { attempt, source }
    }

    /// The class of the build's end, and whose fault it is.
    pub(super) fn class(&self) -> (BuildStatus, Option<Fault>) {
        match self {
            Self::Refused(_)
            | Self::Kind { .. }
            | Self::Attributes { .. }
            | Self::Rules { .. }
            | Self::Environment { .. }
            | Self::Scratch(_)
            | Self::Plan { .. }
            | Self::Graph(GraphError::NotAnInput { .. } | GraphError::UnknownOutputs { .. }) => {
                (BuildStatus::InputRejected, None)
            }
            Self::Graph(GraphError::Derivation { .. } | GraphError::Store(_))
            | Self::NoBuiltins
            | Self::MissingInput { .. }
            | Self::Store { .. }
            | Self::Room(_)
            | Self::Cgroup(_)
            | Self::Terminal(_)
            | Self::Read { .. }
            | Self::Sandbox { .. }
            | Self::Outputs { .. }
            | Self::GivenUp(_) => match self.is_disk_full() {
                true => (BuildStatus::TransientFailure, Some(Fault::DiskFull)),
                false => (BuildStatus::MiscFailure, Some(Fault::Ours)),
            },
        }
    }

    fn is_disk_full(&self) -> bool {
        let mut cause: Option<&(dyn Error + 'static)> = Some(self);
        while let Some(error) = cause {
            if error.downcast_ref().is_some_and(LocalError::is_disk_full)
                || error.downcast_ref().is_some_and(is_disk_full)
            {
                return true;
            }
            cause = error.source();
        }
        false
    }

    /// Advice the user can act on, if there is any.
    fn help(&self) -> Option<String> {
        let mut cause: Option<&(dyn Error + 'static)> = Some(self);
        while let Some(error) = cause {
            let help = error
                .downcast_ref()
                .and_then(LocalError::help)
                .or_else(|| error.downcast_ref().and_then(SandboxError::help));
            if help.is_some() {
                return help;
            }
            cause = error.source();
        }
        None
    }

    /// Everything there is to say, for a client that has one text.
    pub(super) fn text(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        if let Some(help) = self.help() {
            text.push_str("\nhelp: ");
            text.push_str(&help);
        }
        text
    }
}

fn is_disk_full(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded
    )
}
