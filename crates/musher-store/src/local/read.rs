//! Reads valid paths as NARs, in bounded memory.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use nix_archive::nar::{CaseHack, encode_path};
use nix_derivation::StorePath;

use super::{LocalError, LocalStore};
use crate::NAR_CHUNK;

/// Chunks that may wait between the disk and the reader.
const READ_AHEAD: usize = 4;

impl LocalStore {
    /// The NAR of a valid path. What cannot be read is an error of the reader.
    pub fn read_nar(&self, path: &StorePath) -> Result<NarReader, LocalError> {
        if !self.is_valid(path)? {
            return Err(self.not_valid(path));
        }
        NarReader::open(&self.real_path(path))
    }

    /// Writes the NAR of a valid path to `writer`.
    pub fn write_nar(&self, path: &StorePath, writer: &mut dyn Write) -> Result<(), LocalError> {
        if !self.is_valid(path)? {
            return Err(self.not_valid(path));
        }
        encode_path(writer, &self.real_path(path), CaseHack::native()).map_err(|source| {
            LocalError::Pack {
                path: self.layout.render(path),
                source,
            }
        })
    }
}

/// The bytes of a NAR. A thread reads ahead; it ends when this is dropped.
#[derive(Debug)]
pub struct NarReader {
    chunks: Receiver<io::Result<Vec<u8>>>,
    chunk: Vec<u8>,
    /// How much of `chunk` was read.
    at: usize,
}

impl NarReader {
    pub(super) fn open(path: &Path) -> Result<Self, LocalError> {
        let (sender, chunks) = sync_channel(READ_AHEAD);
        let encode = {
            let path = path.to_owned();
            move || {
                let mut writer = ChunkWriter {
                    sender,
                    chunk: Vec::with_capacity(NAR_CHUNK),
                };
                let end = encode_path(&mut writer, &path, CaseHack::native())
                    .map_err(io::Error::other)
                    .and_then(|()| writer.flush());
                if let Err(error) = end {
                    // The reader may be gone; then nobody wants to know.
                    let _ = writer.sender.send(Err(error));
                }
            }
        };
        thread::Builder::new()
            .name("read-nar".to_owned())
            .spawn(encode)
            .map_err(LocalError::io("start a thread that reads", path))?;
        Ok(Self {
            chunks,
            chunk: Vec::new(),
            at: 0,
        })
    }
}

impl Read for NarReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.chunk.len() {
            match self.chunks.recv() {
                Ok(chunk) => self.chunk = chunk?,
                Err(_ended) => return Ok(0),
            }
            self.at = 0;
        }
        let count = buffer.len().min(self.chunk.len() - self.at);
        buffer[..count].copy_from_slice(&self.chunk[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// Gathers small writes into chunks and sends each once it is full.
struct ChunkWriter {
    sender: SyncSender<io::Result<Vec<u8>>>,
    chunk: Vec<u8>,
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(NAR_CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..count]);
        if self.chunk.len() == NAR_CHUNK {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(NAR_CHUNK));
        let sent = self.sender.send(Ok(chunk));
        sent.map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "nobody reads the NAR any more"))
    }
}
