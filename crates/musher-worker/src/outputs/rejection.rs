//! Why what a build left behind was not accepted. The texts are Nix's own,
//! with Nix's quotes: people and scripts search logs for them.

use musher_protocol::types::BuildStatus;

/// The build program ended well, but an output is not acceptable: the end of
/// a build, not a fault of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// An output does not exist.
    #[error(
        "builder for '{drv}' failed to produce output path for output '{output}' at '{location}'"
    )]
    Missing {
        /// The derivation, absolute.
        drv: String,
        /// The output's name.
        output: String,
        /// Where it should be.
        location: String,
    },
    /// Others than the build could have written to an output.
    #[error(
        "suspicious ownership or permission on '{location}' for output '{output}'; rejecting this build output"
    )]
    Suspicious {
        /// Where the output is.
        location: String,
        /// The output's name.
        output: String,
    },
    /// A file of another user was linked into an output.
    #[error("invalid ownership on file '{file}'")]
    ForeignFile {
        /// The file.
        file: String,
    },
    /// A socket, a device or a pipe.
    #[error("file '{file}' has an unsupported type")]
    UnsupportedType {
        /// The file.
        file: String,
    },
    /// Directories lie inside each other beyond what a NAR can hold.
    #[error("output '{output}' of '{drv}' cannot be written as a NAR: {reason}")]
    NotArchivable {
        /// The derivation, absolute.
        drv: String,
        /// The output's name.
        output: String,
        /// What stands in the way.
        reason: String,
    },
    /// Outputs refer to each other in a circle.
    #[error(
        "cycle detected in build of '{drv}' in the references of output '{output}' from output '{parent}'"
    )]
    Cycle {
        /// The derivation, absolute.
        drv: String,
        /// The output that was met twice.
        output: String,
        /// The output that refers to it.
        parent: String,
    },
    /// An output hashed as one file is something else.
    #[error(
        "output path '{location}' should be a non-executable regular file since recursive hashing is not enabled (one of outputHashMode={{flat,text}} is true)"
    )]
    NotFlat {
        /// Where the output is.
        location: String,
    },
    /// A fixed output is not what the derivation says. Hashes in SRI form.
    #[error(
        "hash mismatch in fixed-output derivation '{drv}':\n  specified: {specified}\n     got:    {got}"
    )]
    HashMismatch {
        /// The derivation, absolute.
        drv: String,
        /// What the derivation says.
        specified: String,
        /// What was built.
        got: String,
    },
    /// A fixed output refers to store paths.
    #[error(
        "fixed-output derivations must not reference store paths: '{drv}' references {count} distinct paths, e.g. '{example}'"
    )]
    FixedReferences {
        /// The derivation, absolute.
        drv: String,
        /// How many paths it refers to.
        count: usize,
        /// One of them.
        example: String,
    },
    /// An output whose address has no place for references has some.
    #[error(
        "fixed output derivation '{name}' is not allowed to refer to other store paths.\nYou may need to use the 'unsafeDiscardReferences' derivation attribute, see the manual for more details."
    )]
    ReferencesNotAllowed {
        /// The output path's name.
        name: String,
    },
    /// An output is larger than its `maxSize`.
    #[error("path '{path}' is too large at {size} bytes; limit is {limit} bytes")]
    TooLarge {
        /// The output's path.
        path: String,
        /// Length of its NAR.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// An output's closure is larger than its `maxClosureSize`.
    #[error("closure of path '{path}' is too large at {size} bytes; limit is {limit} bytes")]
    ClosureTooLarge {
        /// The output's path.
        path: String,
        /// Length of all NARs.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// An output refers to what `allowedReferences` and its kin rule out.
    #[error("output '{path}' is not allowed to refer to the following paths:{}", listed(.bad))]
    ForbiddenReferences {
        /// The output's path.
        path: String,
        /// The paths it must not refer to.
        bad: Vec<String>,
    },
    /// A check names an output that the derivation does not have.
    #[error(
        "derivation '{drv}' output check for '{output}' contains output name '{named}', but this is not a valid output of this derivation. (Valid outputs are [{}].)",
        .valid.join(", ")
    )]
    UnknownOutput {
        /// The derivation, absolute.
        drv: String,
        /// The output that is checked.
        output: String,
        /// What the check names.
        named: String,
        /// What it could name.
        valid: Vec<String>,
    },
    /// A second build gave something else.
    #[error(
        "derivation '{drv}' may not be deterministic: output '{path}' differs{}",
        kept.as_ref().map_or_else(String::new, |kept| format!(" from '{kept}'"))
    )]
    NotDeterministic {
        /// The derivation, absolute.
        drv: String,
        /// The output that was there.
        path: String,
        /// Where the new one was kept, if it was.
        kept: Option<String>,
    },
    /// A check of a derivation of which some output is not there.
    #[error("some outputs of '{drv}' are not valid, so checking is not possible")]
    NothingToCheck {
        /// The derivation, absolute.
        drv: String,
    },
}

impl Rejection {
    /// The status a build that ended this way has.
    pub fn status(&self) -> BuildStatus {
        match self {
            Self::NotDeterministic { .. } => BuildStatus::NotDeterministic,
            Self::NothingToCheck { .. } => BuildStatus::MiscFailure,
            Self::Missing { .. }
            | Self::Suspicious { .. }
            | Self::ForeignFile { .. }
            | Self::UnsupportedType { .. }
            | Self::NotArchivable { .. }
            | Self::Cycle { .. }
            | Self::NotFlat { .. }
            | Self::HashMismatch { .. }
            | Self::FixedReferences { .. }
            | Self::ReferencesNotAllowed { .. }
            | Self::TooLarge { .. }
            | Self::ClosureTooLarge { .. }
            | Self::ForbiddenReferences { .. }
            | Self::UnknownOutput { .. } => BuildStatus::OutputRejected,
        }
    }
}

fn listed(paths: &[String]) -> String {
    paths.iter().map(|path| format!("\n  {path}")).collect()
}
