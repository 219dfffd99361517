//! The daemon that decides: requests, fleet, attempts. Speaks gRPC with
//! Musher's own processes, and Nix's protocols only with machines and the home
//! store; clients of Nix are for `musher-serve`.

mod attempt;
mod attempt_log;
mod backoff;
mod build;
mod builder;
pub mod config;
mod core;
mod daemon;
pub mod enrol;
mod fleet;
mod held_inputs;
mod held_outputs;
pub mod history;
mod home;
mod kept_logs;
mod known_paths;
mod request;
mod rpc;
pub mod setup;
mod sources;
mod supervisor;
mod supply;
#[cfg(test)]
mod testing;
mod waiting;
pub mod worker;

use std::error::Error;

use musher_store::ssh::SshOutput;

pub use daemon::{DaemonError, DaemonPlaces, Lifetime, run};
pub use fleet::{FleetError, LocalPlaces};
pub use home::HomeOpenError;

/// An error with all its causes in one line, for logs and for messages to
/// other processes; at a terminal they get lines of their own.
fn error_text(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        // Transparent errors repeat the text of their source.
        if !text.ends_with(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        cause = error.source();
    }
    text
}

/// An error with its causes in one short line that is the same each time it
/// happens: without what ssh said, which names temporary files. For reasons
/// that are shown again and again.
fn short_text(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<SshOutput>() {
            break;
        }
        let part = error.to_string();
        let part = part.lines().next().unwrap_or_default();
        if !text.ends_with(part) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(part);
        }
        next = error.source();
    }
    text
}
