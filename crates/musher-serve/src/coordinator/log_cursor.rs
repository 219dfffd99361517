//! How much of a build's log was heard, whatever is said twice. Asks nobody.

use bytes::Bytes;
use musher_api::coordinator as api;

/// How much of which attempt's log was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct LogCursor {
    pub(super) attempt: u64,
    /// In bytes.
    pub(super) offset: u64,
}

impl LogCursor {
    /// What of a piece of log was not heard before.
    pub(super) fn take(&mut self, mut log: api::Log) -> Option<Bytes> {
        if log.attempt != self.attempt {
            self.attempt = log.attempt;
            self.offset = 0;
        }
        let end = log.offset + log.bytes.len() as u64;
        if end <= self.offset {
            return None;
        }
        let known = self.offset.saturating_sub(log.offset);
        self.offset = end;
        // Less than the piece, which is in memory.
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        Some(log.bytes.split_off(known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_heard_twice() {
        let mut cursor = LogCursor::default();
        let mut hear = |attempt, offset, bytes: &'static str| {
            let bytes = Bytes::from_static(bytes.as_bytes());
            cursor.take(api::Log {
                attempt,
                offset,
                bytes,
            })
        };
        assert_eq!(hear(1, 0, "one\n").as_deref(), Some(&b"one\n"[..]));
        assert_eq!(hear(1, 0, "one\n"), None);
        assert_eq!(hear(1, 0, "one\ntwo\n").as_deref(), Some(&b"two\n"[..]));
        assert_eq!(hear(2, 0, "one\n").as_deref(), Some(&b"one\n"[..]));
    }
}
