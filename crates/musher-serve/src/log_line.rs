//! The lines of a build's log, and what a build says between them about its
//! phases. Knows no message of the worker protocol.
//!
//! ```text
//! log   = (line "\n")*
//! line  = text | phase
//! phase = "@nix " JSON object {"action": "setPhase", "phase": string}
//! ```

use bytes::Bytes;

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LogLine {
    /// What the build program wrote, without the newline.
    Text(Bytes),
    /// The build came to this phase.
    Phase(String),
}

/// The lines of `piece`. What follows the last newline counts as a line: a log
/// is cut elsewhere only at its end or in a line too long to be kept whole.
pub(crate) fn lines(mut piece: Bytes) -> impl Iterator<Item = LogLine> {
    std::iter::from_fn(move || {
        if piece.is_empty() {
            return None;
        }
        let line = match piece.iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                let line = piece.split_to(end);
                let _newline = piece.split_to(1);
                line
            }
            None => std::mem::take(&mut piece),
        };
        Some(match phase(&line) {
            Some(phase) => LogLine::Phase(phase),
            None => LogLine::Text(line),
        })
    })
}

fn phase(line: &[u8]) -> Option<String> {
    let json = line.strip_prefix(b"@nix ")?;
    let message: serde_json::Value = serde_json::from_slice(json).ok()?;
    (message["action"] == "setPhase").then(|| message["phase"].as_str().map(str::to_owned))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(piece: &'static str, expected: &[LogLine]) {
        let found: Vec<_> = lines(Bytes::from_static(piece.as_bytes())).collect();
        assert_eq!(found, expected);
    }

    fn text(line: &'static str) -> LogLine {
        LogLine::Text(Bytes::from_static(line.as_bytes()))
    }

    #[test]
    fn lines_end_at_newlines() {
        check("", &[]);
        check("one\n\ntwo\n", &[text("one"), text(""), text("two")]);
        check("one\ntw", &[text("one"), text("tw")]);
    }

    #[test]
    fn phases_are_no_text() {
        check(
            "@nix { \"action\": \"setPhase\", \"phase\": \"buildPhase\" }\nmake\n",
            &[LogLine::Phase("buildPhase".to_owned()), text("make")],
        );
    }

    #[test]
    fn what_only_looks_like_a_phase_is_text() {
        for line in [
            "@nix {\"action\":\"setPhase\"}",
            "@nix {\"action\":\"setPhase\",\"phase\":7}",
            "@nix {\"action\":\"msg\",\"level\":0,\"msg\":\"hello\"}",
            "@nix [",
            " @nix {\"action\":\"setPhase\",\"phase\":\"x\"}",
        ] {
            check(line, &[text(line)]);
        }
    }
}
