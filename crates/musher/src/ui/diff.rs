//! How a file changes.

use std::path::Path;

use similar::TextDiff;

use super::{Tone, painted};

/// The change of a file as a unified diff; empty if there is none.
pub(crate) fn unified_diff(path: &Path, before: Option<&str>, after: &str) -> String {
    let name = path.display().to_string();
    let old_name = if before.is_some() { &name } else { "/dev/null" };
    TextDiff::from_lines(before.unwrap_or_default(), after)
        .unified_diff()
        .header(old_name, &name)
        .to_string()
}

/// A unified diff with its lines in colours.
pub(super) fn coloured(diff: &str) -> String {
    let paint = |line: &str| {
        let text = line.trim_end_matches('\n');
        let tone = match text.as_bytes().first() {
            Some(b'+') => Tone::Added,
            Some(b'-') => Tone::Removed,
            Some(b'@') => Tone::Note,
            Some(_) | None => return line.to_owned(),
        };
        painted(text, tone, true) + "\n"
    };
    diff.split_inclusive('\n').map(paint).collect()
}
