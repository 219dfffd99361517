//! A worker of Musher's on a machine, as its coordinator speaks to it: how it
//! is reached, what it said of itself, and each thing it can be asked. Decides
//! nothing about what is built where.

mod channel;
mod gift;
mod local;
mod session;
mod shim;
mod store;
mod try_build;
mod way;

pub use gift::Gift;
pub use local::LocalWorker;
pub use session::{Session, SessionOptions};
pub use shim::ShimWay;
pub use try_build::Tried;
pub use way::Way;

use musher_api::worker::worker_client::WorkerClient;
use musher_store::StoreError;
use tonic::{Code, Status};

pub(crate) type Client = WorkerClient<tonic::transport::Channel>;

/// Whether a call failed because the connection did, or the worker went away:
/// asked again on another connection it may succeed.
pub(crate) fn is_lost(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled => true,
        Code::Ok
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::DataLoss
        | Code::Unauthenticated => false,
    }
}

/// What a worker did not do.
pub(crate) fn refused(attempt: &'static str, status: &Status) -> StoreError {
    StoreError::Worker {
        attempt,
        message: status.message().to_owned(),
    }
}
