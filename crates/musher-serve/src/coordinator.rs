//! The coordinator as this session asks it: builds that can be followed and
//! NARs that can be read across restarts of the coordinator. Knows nothing of
//! the client.

mod build;
mod error;
mod feed;
mod foresee;
mod link;
mod log_cursor;
mod nar;
mod outage;
mod paths;
mod realise;

pub(crate) use build::{Build, BuildOrder, News};
pub(crate) use error::CoordinatorError;
pub(crate) use link::Coordinator;
pub use link::StartCoordinator;
pub(crate) use nar::NarRead;
pub(crate) use realise::{Realise, RealiseNews};

/// Whether asking again may help: the coordinator went away, is stopping, or
/// has lost a machine for now. Errors that the connection made have a source;
/// those that the coordinator sent have none.
fn is_passing(status: &tonic::Status) -> bool {
    matches!(
        status.code(),
        tonic::Code::Unavailable | tonic::Code::Cancelled
    ) || std::error::Error::source(status).is_some()
}

/// The coordinator will not do it.
fn refused(status: &tonic::Status) -> CoordinatorError {
    CoordinatorError::Refused {
        message: status.message().to_owned(),
    }
}

/// An id that nobody can guess.
fn new_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}
