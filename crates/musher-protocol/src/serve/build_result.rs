//! Build results as the serve protocol writes them. They never say how much
//! CPU time a build took.
//!
//! ```text
//! status, error
//! times built, non-deterministic, start, stop      from 2.3
//! outputs as JSON                                  2.6 and 2.7
//! outputs as paths                                 from 2.8
//! ```

use super::Version;
use super::version::BuiltOutputsForm;
use crate::types::BuildResult;
use crate::wire::{DecodeError, Decoder, Encoder};

/// Reads a result as `version` has it.
pub async fn decode(d: &mut Decoder, version: Version) -> Result<BuildResult, DecodeError> {
    let status = d.build_status("build status").await?;
    let error = d.text("build error").await?;
    let mut result = BuildResult::new(status, error);
    if version.has_build_times() {
        result.times_built = d.u64("times built").await?;
        result.non_deterministic = d.bool("non-deterministic").await?;
        result.start = d.u64("start time").await?;
        result.stop = d.u64("stop time").await?;
    }
    result.built_outputs = match version.built_outputs() {
        BuiltOutputsForm::Absent => result.built_outputs,
        BuiltOutputsForm::Json => d.built_outputs_json().await?,
        BuiltOutputsForm::Paths => d.built_outputs().await?,
    };
    Ok(result)
}

/// Writes a result as `version` has it; what it has no room for is left out.
pub fn encode(result: &BuildResult, e: &mut Encoder, version: Version) {
    e.build_status(result.status);
    e.bytes(result.error.as_bytes());
    if version.has_build_times() {
        e.u64(result.times_built);
        e.bool(result.non_deterministic);
        e.u64(result.start);
        e.u64(result.stop);
    }
    match version.built_outputs() {
        BuiltOutputsForm::Absent => {}
        BuiltOutputsForm::Json => e.built_outputs_json(&result.built_outputs),
        BuiltOutputsForm::Paths => e.built_outputs(&result.built_outputs),
    }
}
