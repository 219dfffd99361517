//! Cuts what a build program writes into lines, and finds the messages of its
//! own that are meant for Nix among them. Knows no terminal and no file.
//!
//! ```text
//! line    = text | message
//! message = "@nix " JSON object with a string `action`
//! ```
//!
//! A carriage return starts the line again, as on a terminal, so that of a
//! progress bar only its last state is kept.

use serde_json::Value;

/// The most bytes of one line; what is longer becomes several lines. Bounds
/// the memory a build's log takes, whatever it writes.
pub(super) const MOST: usize = 64 << 10;

/// The least important messages of a build program that are shown: Nix's
/// level `info`.
const INFO: u64 = 3;

/// Something that belongs in a build's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogEvent<'a> {
    /// A line the build program wrote, without its newline.
    Line(&'a [u8]),
    /// The build program came to this phase.
    Phase(&'a str),
}

/// Bytes as they come, on their way to be lines.
#[derive(Debug, Default)]
pub(super) struct LogLines {
    line: Vec<u8>,
    /// A carriage return was the last byte.
    returned: bool,
}

impl LogLines {
    /// Takes the next bytes, and hands over every line they complete.
    pub(super) fn push(&mut self, bytes: &[u8], sink: &mut dyn FnMut(LogEvent<'_>)) {
        for byte in bytes {
            match byte {
                b'\n' => self.flush_line(sink),
                b'\r' => self.returned = true,
                byte => {
                    if self.returned {
                        self.line.clear();
                        self.returned = false;
                    }
                    if self.line.len() == MOST {
                        self.flush_line(sink);
                    }
                    self.line.push(*byte);
                }
            }
        }
    }

    /// Hands over what came after the last newline.
    pub(super) fn finish(&mut self, sink: &mut dyn FnMut(LogEvent<'_>)) {
        if !self.line.is_empty() {
            self.flush_line(sink);
        }
    }

    fn flush_line(&mut self, sink: &mut dyn FnMut(LogEvent<'_>)) {
        match Message::of(&self.line) {
            None => sink(LogEvent::Line(&self.line)),
            Some(Message::Phase(phase)) => sink(LogEvent::Phase(&phase)),
            Some(Message::Text(text)) => {
                for line in text.lines() {
                    sink(LogEvent::Line(line.as_bytes()));
                }
            }
            Some(Message::Other) => {}
        }
        self.line.clear();
        self.returned = false;
    }
}

/// What a build program tells Nix.
enum Message {
    /// It came to a phase.
    Phase(String),
    /// Something to be read.
    Text(String),
    /// Activities and their progress, which nobody follows here.
    Other,
}

impl Message {
    /// The message that `line` is, if it is one; anything else is only text.
    fn of(line: &[u8]) -> Option<Self> {
        let json = line.strip_prefix(b"@nix ")?;
        let message: Value = serde_json::from_slice(json).ok()?;
        match message.get("action")?.as_str()? {
            "setPhase" => Some(Self::Phase(message.get("phase")?.as_str()?.to_owned())),
            "msg" => {
                let text = message.get("msg")?.as_str()?;
                let shown = message.get("level")?.as_u64()? <= INFO;
                Some(match shown {
                    true => Self::Text(text.to_owned()),
                    false => Self::Other,
                })
            }
            "start" | "stop" | "result" => Some(Self::Other),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    /// Every piece apart, and then all bytes one by one, come to the same.
    #[track_caller]
    fn check(pieces: &[&str], expected: &Expect) {
        let whole = events(pieces.iter().map(|piece| piece.as_bytes()));
        let bytes: Vec<u8> = pieces.concat().into_bytes();
        assert_eq!(whole, events(bytes.chunks(1)));
        expected.assert_eq(&whole);
    }

    fn events<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> String {
        let mut found = String::new();
        let mut sink = |event: LogEvent<'_>| {
            found += &match event {
                LogEvent::Line(line) => format!("line {}\n", String::from_utf8_lossy(line)),
                LogEvent::Phase(phase) => format!("phase {phase}\n"),
            };
        };
        let mut lines = LogLines::default();
        for piece in pieces {
            lines.push(piece, &mut sink);
        }
        lines.finish(&mut sink);
        found
    }

    #[test]
    fn lines_and_phases() {
        check(
            &[
                "one\ntw",
                "o\n\n",
                "@nix {\"action\":\"setPhase\",\"phase\":\"buildPhase\"}\n",
                "no newline",
            ],
            &expect![[r#"
                line one
                line two
                line 
                phase buildPhase
                line no newline
            "#]],
        );
    }

    #[test]
    fn a_carriage_return_starts_the_line_again() {
        check(
            &["10%\r20%\r30%\nwindows\r\n\rx\r"],
            &expect![[r#"
                line 30%
                line windows
                line x
            "#]],
        );
    }

    #[test]
    fn messages_of_other_kinds() {
        check(
            &[
                "@nix {\"action\":\"msg\",\"level\":1,\"msg\":\"two\\nlines\"}\n",
                "@nix {\"action\":\"msg\",\"level\":6,\"msg\":\"detail\"}\n",
                "@nix {\"action\":\"start\",\"id\":1,\"type\":101}\n",
                "@nix {\"action\":\"whatever\"}\n",
                "@nix {\"phase\":\"x\"}\n",
                "@nix broken\n",
                "@nix\n",
            ],
            &expect![[r#"
                line two
                line lines
                line @nix {"action":"whatever"}
                line @nix {"phase":"x"}
                line @nix broken
                line @nix
            "#]],
        );
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let mut lengths = Vec::new();
        let mut sink = |event: LogEvent<'_>| {
            if let LogEvent::Line(line) = event {
                lengths.push(line.len());
            }
        };
        let mut lines = LogLines::default();
        lines.push(&vec![b'x'; 2 * MOST + 1], &mut sink);
        lines.finish(&mut sink);
        assert_eq!(lengths, [MOST, MOST, 1]);
    }
}
