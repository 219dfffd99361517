//! The last lines of a log.

use std::collections::VecDeque;

use musher_protocol::types::Text;

/// As many as Nix shows of a failed build (`log-lines`).
const LINES: usize = 25;

/// The most bytes kept of one line.
const LENGTH: usize = 4 << 10;

/// The last lines of a log.
#[derive(Debug, Default)]
pub(super) struct Tail(VecDeque<Vec<u8>>);

impl Tail {
    /// A line was added to the log.
    pub(super) fn push(&mut self, line: &[u8]) {
        if self.0.len() == LINES {
            self.0.pop_front();
        }
        self.0.push_back(line[..line.len().min(LENGTH)].to_vec());
    }

    /// The lines, first to last.
    pub(super) fn into_lines(self) -> Vec<Text> {
        let lines = self.0.into_iter();
        lines
            .map(|line| String::from_utf8_lossy(&line).into_owned().into())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept() {
        let mut tail = Tail::default();
        for line in 0..LINES + 2 {
            tail.push(line.to_string().as_bytes());
        }
        let lines = tail.into_lines();
        assert_eq!(lines.len(), LINES);
        assert_eq!(lines[0].as_bytes(), b"2");
    }
}
