//! Cuts a stream of bytes into lines of bounded length. Pure.

/// A line longer than this is handed on in pieces.
const LONGEST: usize = 64 * 1024;

/// Holds the start of a line until its end arrives.
#[derive(Debug, Default)]
pub(crate) struct LineSplitter {
    started: Vec<u8>,
}

impl LineSplitter {
    /// Takes the next bytes and returns the lines they end, without the
    /// newline.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            let (text, ended) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            for part in text.chunks(LONGEST) {
                if self.started.len() + part.len() > LONGEST {
                    lines.push(std::mem::take(&mut self.started));
                }
                self.started.extend_from_slice(part);
            }
            if ended {
                lines.push(std::mem::take(&mut self.started));
            }
        }
        lines
    }

    /// What came after the last newline, if anything did.
    pub(crate) fn rest(&mut self) -> Option<Vec<u8>> {
        let rest = std::mem::take(&mut self.started);
        (!rest.is_empty()).then_some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_across_reads() {
        let mut splitter = LineSplitter::default();
        assert_eq!(splitter.push(b"on"), Vec::<Vec<u8>>::new());
        assert_eq!(
            splitter.push(b"e\n\ntw"),
            vec![b"one".to_vec(), b"".to_vec()]
        );
        assert_eq!(splitter.rest(), Some(b"tw".to_vec()));
        assert_eq!(splitter.rest(), None);
    }

    #[test]
    fn a_line_without_end_is_handed_on_in_pieces() {
        let mut splitter = LineSplitter::default();
        let long = vec![b'x'; LONGEST];
        assert!(splitter.push(&long).is_empty());
        assert_eq!(splitter.push(b"y\n"), vec![long, b"y".to_vec()]);
    }
}
