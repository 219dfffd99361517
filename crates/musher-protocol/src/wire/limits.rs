//! How much a peer may make us hold. Knows no message.

/// The largest lengths that a decoder accepts from its peer. A length above
/// its limit is an error as soon as it is read; nothing is allocated for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in a short string: names, paths, hashes, signatures.
    pub short: u64,
    /// Bytes in a long string: environment values, log lines, error messages,
    /// texts added to the store.
    pub long: u64,
    /// Items in a list, set or map.
    pub items: u64,
    /// Bytes of all strings and items of one message together.
    pub message: u64,
    /// Bytes in one frame of framed data. Frames are passed through in chunks
    /// and never held whole, so this only rejects nonsense.
    pub frame: u64,
}

impl Default for Limits {
    /// Generous for real stores: a closure of 1,000,000 paths and a derivation
    /// with 64 MiB of environment pass.
    fn default() -> Self {
        Self {
            short: 64 << 10,
            long: 64 << 20,
            items: 1 << 20,
            message: 256 << 20,
            frame: 1 << 40,
        }
    }
}
