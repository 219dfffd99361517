//! What follows a request that carries store paths: NARs in chunks, and the
//! trailers of an export stream.
//!
//! ```text
//! added NAR      = bytes, as many as the info before it says
//! export stream  = (u64 1, NAR, trailer)*, u64 0
//! trailer        = u64 0x4558494e, path, references, deriver, (0 | 1, string)
//! ```

use std::collections::BTreeSet;

use bytes::Bytes;
use nix_derivation::StorePath;

use crate::wire::{DecodeError, Decoder, Encoder};

/// `NIXE`, between a NAR and its metadata.
const EXPORT_MAGIC: u64 = 0x4558_494e;

/// What follows a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyKind {
    /// A NAR of so many bytes.
    Nar { size: u64 },
    /// An export stream.
    Export,
}

/// A piece of what follows a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyItem {
    /// Bytes of a NAR, never none.
    Chunk(Bytes),
    /// The end of a NAR of an export stream, and what it was.
    Path(Exported),
    /// The end of the body.
    End,
}

/// What an export stream says about a path, after its NAR.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The path itself.
    pub path: StorePath,
    /// The paths it refers to.
    pub references: BTreeSet<StorePath>,
    /// The derivation that made it, where known.
    pub deriver: Option<StorePath>,
}

impl Exported {
    /// Reads a trailer. A signature, which former versions wrote, is
    /// read over.
    pub async fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        let offset = d.offset();
        let magic = d.u64("export magic").await?;
        if magic != EXPORT_MAGIC {
            let expected = format!("{EXPORT_MAGIC:#x}");
            return Err(d.error("export magic", offset, expected, format!("{magic:#x}")));
        }
        let exported = Self {
            path: d.path("exported path").await?,
            references: d.paths("exported references").await?,
            deriver: d.optional_path("exported deriver").await?,
        };
        if d.u64("has a signature").await? == 1 {
            d.short_bytes("signature").await?;
        }
        Ok(exported)
    }

    /// Writes a trailer.
    pub fn encode(&self, e: &mut Encoder) {
        e.u64(EXPORT_MAGIC);
        e.path(&self.path);
        e.paths(&self.references);
        e.optional_path(self.deriver.as_ref());
        e.u64(0);
    }
}
