//! Where in a file something stands. Knows nothing of what the file means.

use std::fmt;
use std::path::{Path, PathBuf};

/// A place in a text file, printed as `file:line:column`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The file, as the user named it.
    pub file: PathBuf,
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters (not bytes), counted from 1.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// A file's text together with its name, to turn byte offsets into positions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) file: &'a Path,
    pub(super) text: &'a str,
}

impl Source<'_> {
    /// The position of a byte offset; one past the end, or inside a
    /// character, is moved back to the nearest place that exists.
    pub(super) fn at(&self, offset: usize) -> Position {
        let mut end = offset.min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &self.text[..end];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Position {
            file: self.file.to_path_buf(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_become_lines_and_columns() {
        let source = Source {
            file: Path::new("f"),
            text: "ab\nß=x\n",
        };
        let at = |offset| source.at(offset).to_string();
        assert_eq!(at(0), "f:1:1");
        assert_eq!(at(1), "f:1:2");
        assert_eq!(at(3), "f:2:1");
        assert_eq!(at(5), "f:2:2", "columns count characters");
        assert_eq!(at(99), "f:3:1");
    }
}
