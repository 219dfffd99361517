//! Numbers that both ends of the worker's protocol keep to.

use std::time::Duration;

/// The largest message accepted, in bytes: a derivation with all of its
/// environment, which can hold whole files, or an end of a build with all of
/// its outputs' references.
pub const MESSAGE: usize = 64 << 20;

/// The most bytes of a NAR or a log in one message.
pub const CHUNK: usize = 64 << 10;

/// The most paths in one message.
pub const PATHS: usize = 1000;

/// What may be on its way on one HTTP/2 stream that carries NARs: what a link
/// of 1 Gbit/s holds at 65 ms. HTTP/2's own default holds 64 KiB, which makes
/// 1 MB/s of a link of 50 ms.
pub const STREAM_WINDOW: u32 = 8 << 20;

/// The same for all streams of a connection: as much as HTTP/2 can say, so that
/// each stream has its own window and no other. A stream that is not read for a
/// while, because it waits for what another one brings, would else keep that one
/// from going on. Memory is bounded by how many streams there are: an attempt
/// has one.
pub const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// The largest HTTP/2 frame: a chunk with what is around it.
pub const FRAME: u32 = 128 << 10;

/// How often each end gives a sign of life.
pub const BEAT: Duration = Duration::from_secs(1);

/// How long an end may be silent until it counts as lost.
pub const SILENCE: Duration = Duration::from_secs(5);
