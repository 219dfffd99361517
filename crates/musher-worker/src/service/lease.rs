//! The right to make an attempt, and whose it is.

use std::fmt;
use std::sync::Arc;

/// A lease of one coordinator's. Another's of the same number is another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lease {
    /// The coordinator.
    pub(super) owner: Arc<str>,
    /// Grows from one of its attempts to the next.
    pub(super) number: u64,
}

impl fmt::Display for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number.fmt(f)
    }
}
