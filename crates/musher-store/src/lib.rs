//! Placeholder.

pub mod ssh;
pub mod transport;
pub mod url;
