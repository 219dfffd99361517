//! How a command ends when nothing stopped it.

use std::process::ExitCode;

/// What came of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is done.
    Done,
    /// It ran to its end, and what it was about is not well: a machine failed
    /// its test, a path is not valid. That was said already.
    Failed,
}

impl Outcome {
    /// `Done` if all is well.
    pub(crate) fn of(well: bool) -> Self {
        match well {
            true => Self::Done,
            false => Self::Failed,
        }
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::SUCCESS,
            Outcome::Failed => Self::from(1),
        }
    }
}
