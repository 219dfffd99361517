//! Runs the asynchronous part of a command, on this thread, until it is done or
//! a signal asks to stop.

use std::future::Future;
use std::io;

use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Failure;

#[derive(Debug, thiserror::Error)]
#[error("cannot {attempt}")]
struct RuntimeError {
    attempt: &'static str,
    source: io::Error,
}

fn failed(attempt: &'static str) -> impl Fn(io::Error) -> Failure {
    move |source| Failure::environment(RuntimeError { attempt, source })
}

/// Runs `work` to its end. Signals are its own affair; see [`until_signal`].
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed("start the runtime"))?;
    let result = runtime.block_on(work);
    // A file that is still being read is of no use to anyone now.
    runtime.shutdown_background();
    result
}

/// Runs `work`, and drops it on the first SIGINT or SIGTERM. Later ones are
/// ignored, so that what follows can tidy up.
pub(crate) async fn until_signal<T>(
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let failed = failed("catch signals");
    let mut interrupt = signal(SignalKind::interrupt()).map_err(&failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(&failed)?;
    tokio::select! {
        result = work => result,
        _ = interrupt.recv() => Err(Failure::interrupted(2)),
        _ = terminate.recv() => Err(Failure::interrupted(15)),
    }
}
