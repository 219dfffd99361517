//! The daemon that decides: requests, fleet, attempts.

pub mod config;
pub mod setup;
