//! Whether anybody still waits for what a thread does: a thread that blocks
//! cannot be dropped as a future can.

use std::sync::{Arc, Weak};

/// Somebody who waits for work. They do so until this is dropped.
#[derive(Debug, Default)]
pub struct Wanter(Arc<()>);

impl Wanter {
    /// For the thread that does the work.
    pub fn wanted(&self) -> Wanted {
        Wanted(Some(Arc::downgrade(&self.0)))
    }
}

/// Whether work is still wanted. By default it always is.
#[derive(Debug, Clone, Default)]
pub struct Wanted(Option<Weak<()>>);

impl Wanted {
    /// Whether the [`Wanter`] is still there, if there ever was one.
    pub fn is_wanted(&self) -> bool {
        (self.0.as_ref()).is_none_or(|wanter| wanter.strong_count() > 0)
    }
}
