//! What a program of ours that ended had to say, at the end of its log.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// How much of a log's end is looked at.
const TAIL: u64 = 4096;

/// The error that the log at `path` ends with, with its causes and advice in
/// one line, or its last line; none of a log that is empty or cannot be read.
pub fn last_words(path: &Path) -> Option<String> {
    let mut log = File::open(path).ok()?;
    let length = log.metadata().ok()?.len();
    log.seek(SeekFrom::Start(length.saturating_sub(TAIL)))
        .ok()?;
    let mut tail = Vec::new();
    log.take(TAIL).read_to_end(&mut tail).ok()?;
    words_at_end(&String::from_utf8_lossy(&tail))
}

fn words_at_end(log: &str) -> Option<String> {
    let mut words = Vec::new();
    for line in log.lines().rev().map(str::trim) {
        if line.is_empty() {
            continue;
        }
        words.push(line.strip_prefix("error: ").unwrap_or(line));
        let more = ["cause: ", "help: "];
        if !more.iter().any(|word| line.starts_with(word)) {
            break;
        }
    }
    words.reverse();
    (!words.is_empty()).then(|| words.join("; "))
}

#[cfg(test)]
mod tests {
    use super::words_at_end;

    #[test]
    fn a_worker_that_cannot_start_says_all_it_knows() {
        let said = |log| words_at_end(log).unwrap_or_default();
        assert_eq!(
            said("x\nerror: no store\ncause: Permission denied\nhelp:  be root\n\n"),
            "no store; cause: Permission denied; help:  be root"
        );
        assert_eq!(said("one\nthread panicked\n"), "thread panicked");
        assert_eq!(words_at_end("\n"), None);
    }
}
