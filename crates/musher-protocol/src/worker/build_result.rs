//! How builds ended.
//!
//! ```text
//! build result = status, error,
//!                times built, not deterministic, start, stop     from 1.29
//!                CPU user, CPU system: 0 | 1, microseconds       from 1.37
//!                outputs as JSON                                 from 1.28,
//!                outputs as paths     instead, with realisation-with-path-not-hash
//! ```

use super::Feature;
use super::version::Dialect;
use crate::types::BuildResult;
use crate::wire::{DecodeError, Decoder, Encoder};

/// Writes what the dialect has of `result`.
pub fn encode(result: &BuildResult, dialect: &Dialect, to: &mut Encoder) {
    to.build_status(result.status);
    to.bytes(result.error.as_bytes());
    if dialect.has(29) {
        to.u64(result.times_built);
        to.bool(result.non_deterministic);
        to.u64(result.start);
        to.u64(result.stop);
    }
    if dialect.has(37) {
        encode_microseconds(result.cpu_user, to);
        encode_microseconds(result.cpu_system, to);
    }
    if dialect.offers(Feature::RealisationWithPath) {
        to.built_outputs(&result.built_outputs);
    } else if dialect.has(28) {
        to.built_outputs_json(&result.built_outputs);
    }
}

/// Reads a result; what the dialect has not is as in [`BuildResult::new`].
pub async fn decode(dialect: &Dialect, from: &mut Decoder) -> Result<BuildResult, DecodeError> {
    let status = from.build_status("build status").await?;
    let error = from.text("build error").await?;
    let mut result = BuildResult::new(status, error);
    if dialect.has(29) {
        result.times_built = from.u64("times built").await?;
        result.non_deterministic = from.bool("not deterministic").await?;
        result.start = from.u64("start time").await?;
        result.stop = from.u64("stop time").await?;
    }
    if dialect.has(37) {
        result.cpu_user = microseconds("user CPU time", from).await?;
        result.cpu_system = microseconds("system CPU time", from).await?;
    }
    if dialect.offers(Feature::RealisationWithPath) {
        result.built_outputs = from.built_outputs().await?;
    } else if dialect.has(28) {
        result.built_outputs = from.built_outputs_json().await?;
    }
    Ok(result)
}

async fn microseconds(field: &'static str, from: &mut Decoder) -> Result<Option<u64>, DecodeError> {
    let offset = from.offset();
    match from.u64(field).await? {
        0 => Ok(None),
        1 => from.u64(field).await.map(Some),
        other => Err(from.error(field, offset, "0 or 1", other.to_string())),
    }
}

fn encode_microseconds(value: Option<u64>, to: &mut Encoder) {
    to.bool(value.is_some());
    if let Some(value) = value {
        to.u64(value);
    }
}
