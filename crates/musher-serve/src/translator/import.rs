//! `ImportPaths`: what a path is comes only after its NAR, so each NAR waits in
//! a file until its hash is known.

use std::collections::BTreeSet;
use std::io;

use bytes::BytesMut;
use musher_protocol::serve::{BodyItem, Exported};
use musher_protocol::types::{NarHash, PathInfo};
use musher_protocol::worker;
use sha2::{Digest as _, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};

use super::{Translator, add_request};
use crate::error::ServeError;

/// Bytes read from the file at once.
const CHUNK: usize = 64 << 10;

/// A NAR in a file that has no name and goes with the process.
struct Spool {
    file: File,
    hash: Sha256,
    size: u64,
}

impl Spool {
    fn new() -> io::Result<Self> {
        Ok(Self {
            file: File::from_std(tempfile::tempfile()?),
            hash: Sha256::new(),
            size: 0,
        })
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        self.file.write_all(bytes).await
    }

    async fn rewind(&mut self) -> io::Result<()> {
        self.file.flush().await?;
        self.file.rewind().await.map(|_| ())
    }

    async fn read(&mut self) -> io::Result<BytesMut> {
        let mut bytes = BytesMut::with_capacity(CHUNK);
        self.file.read_buf(&mut bytes).await?;
        Ok(bytes)
    }

    fn info(&self, exported: Exported) -> PathInfo {
        PathInfo {
            path: exported.path,
            deriver: exported.deriver,
            nar_hash: NarHash(self.hash.clone().finalize().into()),
            nar_size: self.size,
            references: exported.references,
            registration_time: 0,
            ultimate: false,
            signatures: BTreeSet::new(),
            ca: None,
        }
    }
}

impl Translator {
    /// Adds the paths of the export stream that follows.
    pub(super) async fn import(&mut self) -> Result<(), ServeError> {
        let mut spool = Spool::new().map_err(spooling)?;
        loop {
            match self.body().await? {
                BodyItem::Chunk(bytes) => spool.write(&bytes).await.map_err(spooling)?,
                BodyItem::Path(exported) => {
                    let info = spool.info(exported);
                    self.add_spooled(info, spool).await?;
                    spool = Spool::new().map_err(spooling)?;
                }
                BodyItem::End => return Ok(()),
            }
        }
    }

    async fn add_spooled(&mut self, info: PathInfo, mut nar: Spool) -> Result<(), ServeError> {
        nar.rewind().await.map_err(spooling)?;
        self.request(add_request(info))?;
        loop {
            let bytes = nar.read().await.map_err(spooling)?;
            if bytes.is_empty() {
                break;
            }
            self.upload(worker::BodyItem::Chunk(bytes.freeze())).await?;
        }
        self.upload(worker::BodyItem::End).await?;
        self.answer().await.map(|_| ())
    }
}

fn spooling(source: io::Error) -> ServeError {
    ServeError::Spool(source)
}
