//! The class of a build's end, as its number.

use crate::types::BuildStatus;
use crate::wire::{DecodeError, Decoder, Encoder};

impl Decoder {
    /// The class of a build's end.
    pub async fn build_status(&mut self, field: &'static str) -> Result<BuildStatus, DecodeError> {
        let offset = self.offset();
        let number = self.u64(field).await?;
        let status = usize::try_from(number)
            .ok()
            .and_then(|index| BuildStatus::ALL.get(index));
        status.copied().ok_or_else(|| {
            let last = BuildStatus::ALL.len() - 1;
            self.error(
                field,
                offset,
                format!("a build status, 0 to {last}"),
                number.to_string(),
            )
        })
    }
}

impl Encoder {
    /// The class of a build's end.
    pub fn build_status(&mut self, status: BuildStatus) {
        self.u64(status as u64);
    }
}
