//! What a test found out, as JSON.

use serde::Serialize;

use crate::check::Check;

/// Everything found out about one machine, in JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Report {
    pub(super) name: String,
    pub(super) connect: String,
    /// Whether no step failed.
    pub(super) passed: bool,
    pub(super) measured: Measured,
    /// Each step, in order.
    pub(super) steps: Vec<Check>,
}

/// What was measured; null where the test did not come so far.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Measured {
    /// Until ssh was connected.
    pub(super) connect_ms: Option<f64>,
    /// From then until the program there had answered.
    pub(super) start_ms: Option<f64>,
    pub(super) round_trip_ms: Option<f64>,
    /// Null also where it does not say.
    pub(super) nix_version: Option<String>,
    pub(super) protocol: Option<String>,
    /// Null also where it cannot be known.
    pub(super) trusted: Option<bool>,
    pub(super) upload_bytes_per_second: Option<u64>,
    pub(super) download_bytes_per_second: Option<u64>,
    pub(super) build_ms: Option<f64>,
}
