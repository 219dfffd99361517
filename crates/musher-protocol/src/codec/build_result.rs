//! ```text
//! build result = status, error: string,
//!                [times built, not deterministic, start, stop],
//!                [CPU user, CPU system: 0 | 1, microseconds],
//!                [built outputs]
//! ```
//!
//! Which of the bracketed parts are there is a matter of the version.

use super::realisation;
use crate::types::{BuildResult, BuildStatus};
use crate::wire::{DecodeError, Decoder, Encoder};

/// How built outputs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputsForm {
    /// Not at all.
    Absent,
    /// `sha256:<hex>!<output>` to a realisation in JSON.
    Json,
    /// Output name to path and signatures.
    Typed,
}

/// Which parts of a build result a version has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) times: bool,
    pub(crate) cpu: bool,
    pub(crate) outputs: OutputsForm,
}

/// Writes the parts of `result` that `form` has.
pub(crate) fn encode(result: &BuildResult, form: Form, to: &mut Encoder) {
    to.u64(result.status as u64);
    to.bytes(result.error.as_bytes());
    if form.times {
        to.u64(result.times_built);
        to.bool(result.non_deterministic);
        to.u64(result.start);
        to.u64(result.stop);
    }
    if form.cpu {
        encode_microseconds(result.cpu_user, to);
        encode_microseconds(result.cpu_system, to);
    }
    match form.outputs {
        OutputsForm::Absent => {}
        OutputsForm::Json => realisation::encode_json_outputs(&result.built_outputs, to),
        OutputsForm::Typed => realisation::encode_typed_outputs(&result.built_outputs, to),
    }
}

/// Reads a build result of this form; what it lacks is as in
/// [`BuildResult::new`].
pub(crate) async fn decode(form: Form, from: &mut Decoder) -> Result<BuildResult, DecodeError> {
    let status = status(from).await?;
    let error = from.text("build error").await?;
    let mut result = BuildResult::new(status, error);
    if form.times {
        result.times_built = from.u64("times built").await?;
        result.non_deterministic = from.bool("not deterministic").await?;
        result.start = from.u64("start time").await?;
        result.stop = from.u64("stop time").await?;
    }
    if form.cpu {
        result.cpu_user = microseconds(from, "CPU time (user)").await?;
        result.cpu_system = microseconds(from, "CPU time (system)").await?;
    }
    result.built_outputs = match form.outputs {
        OutputsForm::Absent => result.built_outputs,
        OutputsForm::Json => realisation::json_outputs(from).await?,
        OutputsForm::Typed => realisation::typed_outputs(from).await?,
    };
    Ok(result)
}

async fn status(from: &mut Decoder) -> Result<BuildStatus, DecodeError> {
    const FIELD: &str = "build status";
    let offset = from.offset();
    let number = from.u64(FIELD).await?;
    let status = usize::try_from(number)
        .ok()
        .and_then(|number| BuildStatus::ALL.get(number));
    match status {
        Some(status) => Ok(*status),
        None => Err(from.error(FIELD, offset, "a number from 0 to 14", number.to_string())),
    }
}

async fn microseconds(from: &mut Decoder, field: &'static str) -> Result<Option<u64>, DecodeError> {
    let offset = from.offset();
    match from.u64(field).await? {
        0 => Ok(None),
        1 => from.u64(field).await.map(Some),
        tag => Err(from.error(field, offset, "0 or 1", tag.to_string())),
    }
}

fn encode_microseconds(value: Option<u64>, to: &mut Encoder) {
    match value {
        None => to.u64(0),
        Some(value) => {
            to.u64(1);
            to.u64(value);
        }
    }
}
