//! The log of one build as far as it is shown: its phase, its last lines.

use std::collections::VecDeque;

use serde::Deserialize;

use crate::ui::plain_line;

/// Lines kept for when the build fails.
const KEPT: usize = 25;
/// Bytes of one line that are kept; a build may write as long a one as it likes.
const LONGEST: usize = 4096;

/// The log of one attempt, so far.
#[derive(Debug, Default)]
pub(super) struct Log {
    phase: Option<String>,
    last: VecDeque<String>,
    /// Lines that there were before those kept.
    earlier: u64,
    /// The beginning of a line whose end has not come.
    open: Vec<u8>,
}

/// A line that is not the build program's, as Nix keeps it in logs.
#[derive(Deserialize)]
struct Message {
    action: String,
    phase: Option<String>,
}

impl Log {
    /// Takes the next piece; the lines that are complete with it.
    pub(super) fn take(&mut self, piece: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        let mut parts = piece.split(|byte| *byte == b'\n').peekable();
        while let Some(part) = parts.next() {
            let room = LONGEST.saturating_sub(self.open.len());
            self.open.extend_from_slice(&part[..part.len().min(room)]);
            if parts.peek().is_some() {
                let line = std::mem::take(&mut self.open);
                lines.extend(self.line(&String::from_utf8_lossy(&line)));
            }
        }
        lines
    }

    fn line(&mut self, line: &str) -> Option<String> {
        if let Some(message) = line.strip_prefix("@nix ")
            && let Ok(message) = serde_json::from_str::<Message>(message)
        {
            if message.action == "setPhase" {
                self.phase = message.phase.as_deref().map(plain_line);
            }
            return None;
        }
        let line = plain_line(line);
        if self.last.len() == KEPT {
            self.last.pop_front();
            self.earlier += 1;
        }
        self.last.push_back(line.clone());
        Some(line)
    }

    /// The phase the build is in, where it said so.
    pub(super) fn phase(&self) -> Option<&str> {
        self.phase.as_deref()
    }

    /// The last lines, oldest first.
    pub(super) fn last_lines(&self) -> Vec<&str> {
        self.last.iter().map(String::as_str).collect()
    }

    /// The newest line in which something stands.
    pub(super) fn newest(&self) -> Option<&str> {
        let lines = self.last.iter().rev().map(String::as_str);
        lines.map(str::trim).find(|line| !line.is_empty())
    }

    /// How many lines there were before those.
    pub(super) fn earlier(&self) -> u64 {
        self.earlier
    }
}
