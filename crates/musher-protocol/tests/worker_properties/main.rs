//! Properties of the worker protocol that hold for every message and version.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod carried;
mod messages;
mod sessions;
mod steps;
mod strategies;

#[path = "../common/nars.rs"]
mod nars;
#[path = "../common/strategies.rs"]
mod values;
