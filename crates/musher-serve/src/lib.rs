//! One client's Nix session: speaks Nix's protocols with the client, does
//! everything that is not building on a connection of its own to the home
//! store, and has the coordinator build. Decides nothing about who builds what.

mod client;
mod config;
mod coordinator;
mod error;
mod home;
mod limits;
mod log_line;
mod outputs;
mod relay;
mod restrain;
mod route;
mod session;
mod ssh_command;
mod stdio;
mod story;
mod untrusted;
mod wire;

pub use config::{Protocol, SessionConfig};
pub use error::ServeError;
pub use ssh_command::{NotServed, served_protocol};
pub use stdio::{Input, Output};

use session::Session;

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
        Protocol::Serve => Err(ServeError::Failed(
            "`nix-store --serve` is not served here".to_owned(),
        )),
    };
    match served {
        Err(ServeError::HungUp) => Ok(()),
        other => other,
    }
}
