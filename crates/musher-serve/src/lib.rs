//! One client's Nix session: speaks Nix's protocols with the client, does
//! everything that is not building on a connection of its own to the home
//! store, and has the coordinator build. Decides nothing about who builds what.

mod client;
mod client_process;
mod config;
mod coordinator;
mod error;
mod home;
mod limits;
mod log_line;
mod outputs;
mod relay;
mod request_story;
mod restrain;
mod route;
mod session;
mod ssh_command;
mod stdio;
mod story;
mod temp_roots;
mod translator;
mod wire;

pub use config::{Entrance, Protocol, SessionConfig};
pub use coordinator::StartCoordinator;
pub use error::ServeError;
pub use ssh_command::{NotServed, served_protocol};
pub use stdio::{Input, Output};

use std::os::fd::OwnedFd;

use tokio::net::UnixStream;

use session::Session;
use translator::Translator;

/// Serves one client until it leaves. Dropping the future, as the end of the
/// process does, gives up the client's builds.
///
/// Must be called within a tokio runtime; one thread will do.
pub async fn run(
    config: SessionConfig,
    protocol: Protocol,
    input: Input,
    output: Output,
) -> Result<(), ServeError> {
    let served = match protocol {
        Protocol::Worker => Session::open(config, input, output).await?.run().await,
        Protocol::Serve => translated(config, input, output).await,
    };
    match served {
        Err(ServeError::HungUp) => Ok(()),
        other => other,
    }
}

/// Serves a client of the serve protocol by a session of the worker protocol
/// in the same process.
async fn translated(config: SessionConfig, input: Input, output: Output) -> Result<(), ServeError> {
    let (ours, theirs) = UnixStream::pair().map_err(ServeError::Pair)?;
    let theirs = OwnedFd::from(theirs.into_std().map_err(ServeError::Pair)?);
    let inner_input = Input::new(theirs.try_clone().map_err(ServeError::Pair)?);
    let inner_output = Output::new(theirs);
    let session = Session::open(
        config,
        inner_input.map_err(ServeError::Pair)?,
        inner_output.map_err(ServeError::Pair)?,
    )
    .await?;
    let store_dir = session.store_dir().clone();
    let outer = async {
        Translator::open(store_dir, ours, input, output)
            .await?
            .run()
            .await
    };
    tokio::select! {
        // Its error is the reason for whatever the other one suffers from.
        biased;
        served = session.run() => served,
        served = outer => served,
    }
}
