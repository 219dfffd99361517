//! Content addresses, as strings.

use nix_derivation::CAHash;

use crate::wire::{DecodeError, Decoder, Encoder};

impl Decoder {
    /// A content address.
    pub async fn content_address(&mut self, field: &'static str) -> Result<CAHash, DecodeError> {
        let offset = self.offset();
        let string = self.short(field).await?;
        self.parse_content_address(field, offset, &string)
    }

    /// A content address, or the empty string for none.
    pub async fn optional_content_address(
        &mut self,
        field: &'static str,
    ) -> Result<Option<CAHash>, DecodeError> {
        let offset = self.offset();
        let string = self.short(field).await?;
        if string.is_empty() {
            return Ok(None);
        }
        self.parse_content_address(field, offset, &string).map(Some)
    }

    fn parse_content_address(
        &self,
        field: &'static str,
        offset: u64,
        string: &str,
    ) -> Result<CAHash, DecodeError> {
        string.parse().map_err(|error| {
            let found = format!("`{string}` ({error})");
            self.error(field, offset, "a content address", found)
        })
    }
}

impl Encoder {
    /// A content address.
    pub fn content_address(&mut self, ca: &CAHash) {
        self.string(&ca.to_nix_string());
    }

    /// A content address, or the empty string for none.
    pub fn optional_content_address(&mut self, ca: Option<&CAHash>) {
        match ca {
            Some(ca) => self.content_address(ca),
            None => self.string(""),
        }
    }
}
