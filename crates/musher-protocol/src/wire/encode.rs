//! Writes primitives. Knows no message.

use bytes::{BufMut, Bytes, BytesMut};
use nix_derivation::{StoreDir, StorePath};

/// Appends primitives to a buffer.
#[derive(Debug, Clone)]
pub struct Encoder {
    buffer: BytesMut,
    store_dir: StoreDir,
}

impl Encoder {
    /// An empty buffer; store paths are written below `store_dir`.
    pub fn new(store_dir: StoreDir) -> Self {
        Self {
            buffer: BytesMut::new(),
            store_dir,
        }
    }

    /// The store directory of this stream's paths.
    pub fn store_dir(&self) -> &StoreDir {
        &self.store_dir
    }

    /// Takes everything written so far.
    pub fn take(&mut self) -> Bytes {
        self.buffer.split().freeze()
    }

    /// The number of bytes written and not taken.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether nothing is waiting to be taken.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// An unsigned integer.
    pub fn u64(&mut self, value: u64) {
        self.buffer.put_u64_le(value);
    }

    /// A truth value.
    pub fn bool(&mut self, value: bool) {
        self.u64(u64::from(value));
    }

    /// A length or count.
    pub fn count(&mut self, value: usize) {
        self.u64(value as u64);
    }

    /// A string of any bytes.
    pub fn bytes(&mut self, value: &[u8]) {
        self.count(value.len());
        self.buffer.put_slice(value);
        self.buffer
            .put_bytes(0, value.len().next_multiple_of(8) - value.len());
    }

    /// A UTF-8 string.
    pub fn string(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    /// An absolute store path.
    pub fn path(&mut self, path: &StorePath) {
        let rendered = self.store_dir.render_path(path);
        self.string(&rendered);
    }

    /// An absolute store path, or the empty string for none.
    pub fn optional_path(&mut self, path: Option<&StorePath>) {
        match path {
            Some(path) => self.path(path),
            None => self.string(""),
        }
    }

    /// A set or list of store paths.
    pub fn paths<'a, I>(&mut self, paths: I)
    where
        I: IntoIterator<Item = &'a StorePath, IntoIter: ExactSizeIterator>,
    {
        let paths = paths.into_iter();
        self.count(paths.len());
        for path in paths {
            self.path(path);
        }
    }

    /// A set or list of strings.
    pub fn strings<'a, I>(&mut self, strings: I)
    where
        I: IntoIterator<Item = &'a String, IntoIter: ExactSizeIterator>,
    {
        let strings = strings.into_iter();
        self.count(strings.len());
        for string in strings {
            self.string(string);
        }
    }

    /// Bytes as they are: a NAR, or a part of one.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.buffer.put_slice(bytes);
    }

    /// One frame of framed data. An empty one is not written, since it would
    /// end the data.
    pub fn frame(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.count(bytes.len());
            self.raw(bytes);
        }
    }

    /// The end of framed data.
    pub fn end_frames(&mut self) {
        self.u64(0);
    }
}
