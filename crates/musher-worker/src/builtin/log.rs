//! The lines by which a build program speaks to Nix: one JSON object each,
//! after `@nix `.

use std::io::Write;

use serde_json::{Value, json};

/// Nix's numbers for how important a message is.
const WARN: u64 = 1;
const TALKATIVE: u64 = 4;
/// Nix's number for the activity of transferring a file.
const FILE_TRANSFER: u64 = 101;
/// Nix's number for a result that says how far an activity is.
const PROGRESS: u64 = 105;

/// A log that Nix, and whoever reads as it does, understands.
pub(super) struct Log<'a> {
    sink: &'a mut dyn Write,
    activities: u64,
}

/// A transfer that was announced.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transfer(u64);

impl<'a> Log<'a> {
    pub(super) fn new(sink: &'a mut dyn Write) -> Self {
        Self {
            sink,
            activities: 0,
        }
    }

    /// Something odd, after which things go on.
    pub(super) fn warn(&mut self, text: &str) {
        let text = format!("warning: {text}");
        self.line(&json!({ "action": "msg", "level": WARN, "msg": text }));
    }

    /// A download begins.
    pub(super) fn downloading(&mut self, url: &str) -> Transfer {
        self.activities += 1;
        let transfer = Transfer(self.activities);
        self.line(&json!({
            "action": "start",
            "id": transfer.0,
            "level": TALKATIVE,
            "type": FILE_TRANSFER,
            "text": format!("downloading '{url}'"),
            "fields": [url],
            "parent": 0,
        }));
        transfer
    }

    /// So many bytes are here, of so many (0 if nobody knows).
    pub(super) fn progress(&mut self, transfer: Transfer, done: u64, expected: u64) {
        self.line(&json!({
            "action": "result",
            "id": transfer.0,
            "type": PROGRESS,
            "fields": [done, expected, 0, 0],
        }));
    }

    /// A download ended, one way or another.
    pub(super) fn ended(&mut self, transfer: Transfer) {
        self.line(&json!({ "action": "stop", "id": transfer.0 }));
    }

    fn line(&mut self, value: &Value) {
        // A log that cannot be written to is no reason to stop.
        let _ = writeln!(self.sink, "@nix {value}");
    }
}
