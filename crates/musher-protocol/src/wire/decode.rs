//! Reads primitives from a [`Source`], with limits, and says where and why it
//! could not. Knows no message.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use nix_derivation::{StoreDir, StorePath};

use super::{DecodeError, Limits, Source};
use crate::nar::Scanner;
use crate::types::Text;

/// Why the decoder of a complete message can never be left waiting.
const COMPLETE: &str = "bug: a decoder waits for bytes after the end of its stream";

/// Reads the primitives of one stream.
#[derive(Debug)]
pub struct Decoder {
    source: Source,
    store_dir: StoreDir,
    limits: Limits,
    /// What is left of `limits.message` for the message being read.
    budget: u64,
}

impl Decoder {
    /// A decoder of what is pushed into `source`; store paths are expected
    /// below `store_dir`.
    pub fn new(source: Source, store_dir: StoreDir, limits: Limits) -> Self {
        Self {
            source,
            store_dir,
            limits,
            budget: limits.message,
        }
    }

    /// The store directory of this stream's paths.
    pub fn store_dir(&self) -> &StoreDir {
        &self.store_dir
    }

    /// The bytes it reads.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// What it accepts at most.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The stream offset, in bytes, of the next byte to be read.
    pub fn offset(&self) -> u64 {
        self.source.offset()
    }

    /// Starts a message: its strings and items count from here.
    pub fn begin_message(&mut self) {
        self.budget = self.limits.message;
    }

    /// Whether the stream ends here rather than going on with a message.
    pub async fn at_end(&self) -> bool {
        self.source.at_end().await
    }

    /// An error about `field`, which began at `offset`.
    pub fn error(
        &self,
        field: &'static str,
        offset: u64,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> DecodeError {
        DecodeError {
            field,
            offset,
            expected: expected.into(),
            found: found.into(),
        }
    }

    /// An unsigned integer.
    pub async fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        let bytes = self.raw(field, 8).await?;
        let mut word = [0; 8];
        word.copy_from_slice(&bytes);
        Ok(u64::from_le_bytes(word))
    }

    /// A truth value. Nix takes every non-zero integer for true; so do we, as
    /// writers in the field have sent other ones.
    pub async fn bool(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        Ok(self.u64(field).await? != 0)
    }

    /// A short string of any bytes, at most [`Limits::short`] long.
    pub async fn short_bytes(&mut self, field: &'static str) -> Result<Bytes, DecodeError> {
        self.string_of(field, self.limits.short).await
    }

    /// A string of any bytes, at most [`Limits::long`] long.
    pub async fn long_bytes(&mut self, field: &'static str) -> Result<Bytes, DecodeError> {
        self.string_of(field, self.limits.long).await
    }

    /// Text that is shown or passed on, in no particular encoding.
    pub async fn text(&mut self, field: &'static str) -> Result<Text, DecodeError> {
        Ok(Text::from(self.long_bytes(field).await?))
    }

    /// A short UTF-8 string.
    pub async fn short(&mut self, field: &'static str) -> Result<String, DecodeError> {
        let offset = self.offset();
        let bytes = self.short_bytes(field).await?;
        self.utf8(field, offset, &bytes)
    }

    /// A long UTF-8 string.
    pub async fn long(&mut self, field: &'static str) -> Result<String, DecodeError> {
        let offset = self.offset();
        let bytes = self.long_bytes(field).await?;
        self.utf8(field, offset, &bytes)
    }

    /// A store path, absolute, below the store directory.
    pub async fn path(&mut self, field: &'static str) -> Result<StorePath, DecodeError> {
        let offset = self.offset();
        let bytes = self.short_bytes(field).await?;
        self.parse_path(field, offset, &bytes)
    }

    /// A store path, or the empty string for none.
    pub async fn optional_path(
        &mut self,
        field: &'static str,
    ) -> Result<Option<StorePath>, DecodeError> {
        let offset = self.offset();
        let bytes = self.short_bytes(field).await?;
        if bytes.is_empty() {
            return Ok(None);
        }
        self.parse_path(field, offset, &bytes).map(Some)
    }

    /// The number of items of a list, set or map. Each item costs something
    /// of the message's budget, so that a hostile count ends early.
    pub async fn count(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        let offset = self.offset();
        let count = self.u64(field).await?;
        if count > self.limits.items {
            let expected = format!("at most {} items", self.limits.items);
            return Err(self.error(field, offset, expected, count.to_string()));
        }
        Ok(count)
    }

    /// A set or list of store paths, collected.
    pub async fn paths<C>(&mut self, field: &'static str) -> Result<C, DecodeError>
    where
        C: Default + Extend<StorePath>,
    {
        let mut paths = C::default();
        for _ in 0..self.count(field).await? {
            let path = self.path(field).await?;
            paths.extend([path]);
        }
        Ok(paths)
    }

    /// A set or list of short strings, collected.
    pub async fn strings<C>(&mut self, field: &'static str) -> Result<C, DecodeError>
    where
        C: Default + Extend<String>,
    {
        let mut strings = C::default();
        for _ in 0..self.count(field).await? {
            let string = self.short(field).await?;
            strings.extend([string]);
        }
        Ok(strings)
    }

    /// The length of the next frame of framed data; 0 ends the data.
    pub async fn frame(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        let offset = self.offset();
        let length = self.u64(field).await?;
        if length > self.limits.frame {
            let expected = format!("a frame of at most {} bytes", self.limits.frame);
            return Err(self.error(field, offset, expected, length.to_string()));
        }
        Ok(length)
    }

    /// The next bytes of bulk data, at least one and at most `most`.
    pub async fn chunk(&mut self, field: &'static str, most: u64) -> Result<Bytes, DecodeError> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let offset = self.offset();
        match self.source.take_some(most).await {
            Ok(bytes) => Ok(bytes),
            Err(_) => Err(self.error(field, offset, "more data", DecodeError::END)),
        }
    }

    /// The next bytes of the NAR that `scanner` follows, at least one; at most
    /// `most`, and none from behind its end.
    pub async fn nar_chunk(
        &mut self,
        field: &'static str,
        most: usize,
        scanner: &mut Scanner,
    ) -> Result<Bytes, DecodeError> {
        let offset = self.offset();
        let before = scanner.scanned();
        let scan = |bytes: &[u8]| scanner.advance(&bytes[..bytes.len().min(most)]);
        match self.source.take_scanned(scan).await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) => {
                let offset = (offset + error.offset).saturating_sub(before);
                Err(self.error(field, offset, error.expected, error.found))
            }
            Err(_) => Err(self.error(field, offset, "more of a NAR", DecodeError::END)),
        }
    }

    /// Exactly `count` bytes.
    pub async fn raw(&mut self, field: &'static str, count: usize) -> Result<Bytes, DecodeError> {
        let offset = self.offset();
        match self.source.take(count).await {
            Ok(bytes) => Ok(bytes),
            Err(_) => Err(self.error(field, offset, format!("{count} bytes"), DecodeError::END)),
        }
    }

    async fn string_of(&mut self, field: &'static str, most: u64) -> Result<Bytes, DecodeError> {
        let offset = self.offset();
        let length = self.u64(field).await?;
        // The 8 bytes of the length count too: a message of a million empty
        // strings is not free.
        let most = most.min(self.budget.saturating_sub(8));
        let count = match usize::try_from(length) {
            Ok(count) if length <= most => count,
            _ => {
                let expected = format!("a string of at most {most} bytes");
                return Err(self.error(field, offset, expected, format!("{length} bytes")));
            }
        };
        self.budget -= 8 + length;
        let bytes = self.raw(field, count).await?;
        let padding = count.next_multiple_of(8) - count;
        if padding > 0 {
            let at = self.offset();
            let zeros = self.raw(field, padding).await?;
            if zeros.iter().any(|byte| *byte != 0) {
                return Err(self.error(field, at, "zero bytes as padding", format!("{zeros:?}")));
            }
        }
        Ok(bytes)
    }

    fn utf8(&self, field: &'static str, offset: u64, bytes: &[u8]) -> Result<String, DecodeError> {
        match std::str::from_utf8(bytes) {
            Ok(string) => Ok(string.to_owned()),
            Err(error) => Err(self.error(field, offset, "UTF-8 text", error.to_string())),
        }
    }

    /// Parses the absolute store path that was read from `offset`.
    pub fn parse_path(
        &self,
        field: &'static str,
        offset: u64,
        bytes: &[u8],
    ) -> Result<StorePath, DecodeError> {
        self.store_dir.parse_path(bytes).map_err(|error| {
            let expected = format!("a store path below `{}`", self.store_dir.as_str());
            let found = format!("`{}` ({error})", String::from_utf8_lossy(bytes));
            self.error(field, offset, expected, found)
        })
    }
}

/// Decodes one whole value from `bytes`; bytes left over are an error.
pub fn decode<T>(
    bytes: &[u8],
    store_dir: &StoreDir,
    decoder: impl AsyncFnOnce(&mut Decoder) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let source = Source::default();
    source.push(bytes);
    source.end();
    let mut reader = Decoder::new(source.clone(), store_dir.clone(), Limits::default());
    let value = {
        let future = pin!(decoder(&mut reader));
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value?,
            Poll::Pending => unreachable!("{COMPLETE}"),
        }
    };
    match source.waiting() {
        0 => Ok(value),
        left => Err(reader.error(
            "message",
            source.offset(),
            "the end of the message",
            format!("{left} more bytes"),
        )),
    }
}
