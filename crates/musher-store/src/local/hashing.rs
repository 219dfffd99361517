//! Hashes a stream while somebody reads it: a long one on a thread of its own,
//! so that the disk does not wait for the hash. Knows nothing of NARs.

use std::io::{self, Read};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use bytes::{Buf, Bytes, BytesMut};
use musher_protocol::types::NarHash;
use sha2::{Digest, Sha256};

/// Bytes read at a time.
const CHUNK: usize = 128 << 10;
/// From this length on a thread is worth while.
const LONG: u64 = 1 << 20;
/// Chunks that may wait to be hashed.
const AHEAD: usize = 8;

/// Reads through to `source`, and hashes.
pub(super) struct HashingReader<'a> {
    source: &'a mut dyn Read,
    chunk_size: usize,
    chunk: Bytes,
    size: u64,
    hasher: Hasher,
}

enum Hasher {
    Here(Sha256),
    Elsewhere {
        chunks: SyncSender<Bytes>,
        thread: JoinHandle<Sha256>,
    },
}

impl<'a> HashingReader<'a> {
    /// Hashes what is read from `source`, which should be `size` bytes long.
    pub(super) fn new(source: &'a mut dyn Read, size: u64) -> Self {
        // Small streams are many: they shall not cost large buffers.
        let chunk_size = usize::try_from(size).unwrap_or(CHUNK).clamp(1 << 10, CHUNK);
        Self {
            source,
            chunk_size,
            chunk: Bytes::new(),
            size: 0,
            hasher: if size < LONG {
                Hasher::Here(Sha256::new())
            } else {
                Hasher::elsewhere()
            },
        }
    }

    /// Bytes that are there at a time, at most.
    pub(super) fn chunk_size(&self) -> usize {
        self.chunk_size
    }

    /// The hash of what was read, and its length.
    pub(super) fn finish(self) -> (NarHash, u64) {
        let hasher = match self.hasher {
            Hasher::Here(hasher) => hasher,
            Hasher::Elsewhere { chunks, thread } => {
                drop(chunks);
                let hashed = thread.join();
                hashed.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }
        };
        (NarHash(hasher.finalize().into()), self.size)
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut chunk = BytesMut::zeroed(self.chunk_size);
        let mut count = 0;
        // Short reads would make many small chunks.
        while count < chunk.len() {
            match self.source.read(&mut chunk[count..]) {
                Ok(0) => break,
                Ok(more) => count += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        chunk.truncate(count);
        self.chunk = chunk.freeze();
        self.size += count as u64;
        match &mut self.hasher {
            Hasher::Here(hasher) => hasher.update(&self.chunk),
            Hasher::Elsewhere { chunks, .. } => {
                // It ends only when we do.
                let sent = chunks.send(self.chunk.clone());
                sent.map_err(|_| io::Error::other("bug: the hashing thread is gone"))?;
            }
        }
        Ok(())
    }
}

impl Hasher {
    fn elsewhere() -> Self {
        let (chunks, received) = sync_channel::<Bytes>(AHEAD);
        let hash = move || {
            let mut hasher = Sha256::new();
            for chunk in received {
                hasher.update(&chunk);
            }
            hasher
        };
        match thread::Builder::new().name("hash".to_owned()).spawn(hash) {
            Ok(thread) => Self::Elsewhere { chunks, thread },
            // Too many threads: then here.
            Err(_) => Self::Here(Sha256::new()),
        }
    }
}

impl Read for HashingReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.chunk.is_empty() {
            self.fill()?;
        }
        let count = buffer.len().min(self.chunk.len());
        self.chunk.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_streams_are_hashed_alike() {
        for size in [0, 1, 1023, 1 << 17, (1 << 20) - 1, 3 << 20] {
            let bytes: Vec<u8> = (0..size).map(|at: usize| at.to_le_bytes()[0]).collect();
            let mut source = &bytes[..];
            let mut reader = HashingReader::new(&mut source, bytes.len() as u64);
            let mut read = Vec::new();
            reader.read_to_end(&mut read).expect("a stream");
            let (hash, length) = reader.finish();
            assert!(read == bytes);
            assert_eq!(length, bytes.len() as u64);
            assert_eq!(hash.0[..], Sha256::digest(&bytes)[..]);
        }
    }
}
