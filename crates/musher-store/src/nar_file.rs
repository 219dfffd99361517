//! Reads a NAR straight from the file system, without asking whoever owns the
//! store. Knows nothing of store paths or validity.

use std::io::{self, Write};
use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use nix_archive::nar::{CaseHack, encode_path};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::store::NarStream;
use crate::{NAR_CHUNK, StoreError};

/// Chunks that may wait between the disk and the reader of the stream.
const READ_AHEAD: usize = 4;

/// The NAR of the file tree at `path`. Dropping the stream stops the reading.
pub fn read_nar_file(path: PathBuf) -> NarStream {
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    spawn_blocking(move || {
        let mut writer = ChunkWriter {
            buffer: BytesMut::with_capacity(NAR_CHUNK),
            sender,
        };
        let end = encode_path(&mut writer, &path, CaseHack::native())
            .map_err(io::Error::other)
            .and_then(|()| writer.flush());
        if let Err(source) = end {
            // The reader may be gone; then nobody wants to know.
            let _ = writer
                .sender
                .blocking_send(Err(StoreError::ReadFile { path, source }));
        }
    });
    Box::pin(stream::unfold(receiver, async |mut receiver| {
        let chunk = receiver.recv().await?;
        Some((chunk, receiver))
    }))
}

/// Gathers small writes into chunks and sends each once it is full.
struct ChunkWriter {
    buffer: BytesMut,
    sender: mpsc::Sender<Result<Bytes, StoreError>>,
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = NAR_CHUNK - self.buffer.len();
        let count = bytes.len().min(room);
        self.buffer.extend_from_slice(&bytes[..count]);
        if self.buffer.len() == NAR_CHUNK {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = self.buffer.split().freeze();
        self.buffer.reserve(NAR_CHUNK);
        self.sender
            .blocking_send(Ok(chunk))
            .map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "nobody reads the NAR any more"))
    }
}
