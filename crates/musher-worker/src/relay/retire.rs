//! Asks a worker of another binary to make room.

use std::fs;
use std::io;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use musher_api::worker::RetireRequest;
use musher_api::worker::worker_client::WorkerClient;
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};
use tonic::transport::Endpoint;
use tower::service_fn;
use tracing::debug;

use crate::places::WorkerPlaces;
use crate::process::{WorkerError, binary};

/// How long the worker may take to answer, and then to go if it has nothing to
/// do.
const BOUND: Duration = Duration::from_secs(1);

/// How often it is looked whether it has gone.
const LOOK: Duration = Duration::from_millis(10);

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retired {
    /// It ended.
    Gone,
    /// It has something to do, and ends after that.
    Busy,
}

/// Whether the worker there is of another binary than this process.
pub(super) fn is_another_binary(places: &WorkerPlaces) -> Result<bool, WorkerError> {
    let path = places.binary();
    match fs::read_to_string(&path) {
        Ok(theirs) => Ok(theirs != binary()?),
        // It has just begun to listen, or is about to end.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(WorkerError::file("read", &path)(error)),
    }
}

/// Asks the worker at the other end of `stream` to end when it can, and sees
/// whether it does so at once.
pub(super) async fn retire(stream: UnixStream) -> Result<Retired, WorkerError> {
    let request = RetireRequest { binary: binary()? };
    let mut stream = Some(stream);
    let connector = service_fn(move |_| {
        let stream = stream.take();
        async move {
            let stream = stream.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
            io::Result::Ok(TokioIo::new(stream))
        }
    });
    let asked = async {
        let channel = Endpoint::from_static("http://worker")
            .connect_with_connector(connector)
            .await
            .map_err(|_| ())?;
        let mut client = WorkerClient::new(channel);
        client.retire(request.clone()).await.map_err(|_| ())?;
        // It ends when nothing runs; then it answers no more.
        while client.retire(request.clone()).await.is_ok() {
            sleep(LOOK).await;
        }
        Ok::<_, ()>(())
    };
    match timeout(BOUND, asked).await {
        Ok(_) => {
            debug!("a worker of another binary has made room");
            Ok(Retired::Gone)
        }
        Err(_) => Ok(Retired::Busy),
    }
}
