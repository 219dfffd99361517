//! Follows a NAR through chunks of any size. Holds at most one word.

use super::NarError;
use super::grammar::{Grammar, Place, expected};

/// What the next byte belongs to.
#[derive(Debug, Clone)]
enum Part {
    /// The length of a word; `have` of its 8 bytes are in `word`.
    Length { have: usize },
    /// A word of which `left` bytes are missing, then padding.
    Word { left: usize, padding: usize },
    /// The content of a file.
    Content { left: u64, padding: usize },
    /// Zero bytes after a word.
    Padding { left: usize },
}

/// Finds the end of one NAR, fed in chunks of any size.
#[derive(Debug, Clone)]
pub struct Scanner {
    grammar: Grammar,
    part: Part,
    length: [u8; 8],
    word: Vec<u8>,
    /// Offset of the word being read.
    began: u64,
    scanned: u64,
    /// What in the place of a length says that the sender gave up.
    surrender: Option<u64>,
    surrendered: bool,
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl Scanner {
    /// A scanner before the first byte of a NAR.
    pub fn new() -> Self {
        Self {
            grammar: Grammar::new(),
            part: Part::Length { have: 0 },
            length: [0; 8],
            word: Vec::new(),
            began: 0,
            scanned: 0,
            surrender: None,
            surrendered: false,
        }
    }

    /// A scanner of a NAR whose sender may give up between two words, and then
    /// writes `mark` and something else. The mark is longer than any word but
    /// the content of a file; before that, no sender gives up.
    pub fn until(mark: u64) -> Self {
        Self {
            surrender: Some(mark),
            ..Self::new()
        }
    }

    /// Whether the sender gave up. The mark is the last that was scanned.
    pub fn has_surrendered(&self) -> bool {
        self.surrendered
    }

    /// Whether the NAR has ended.
    pub fn is_complete(&self) -> bool {
        self.grammar.place == Place::End
    }

    /// Bytes of the NAR seen so far; its length once it is complete.
    pub fn scanned(&self) -> u64 {
        self.scanned
    }

    /// Goes over `bytes` and returns how many of them belong to the NAR: all,
    /// unless it ends, or is given up, among them. After an error the scanner is of no use.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<usize, NarError> {
        let mut rest = bytes;
        while !rest.is_empty() && !self.is_complete() && !self.surrendered {
            let taken = self.part(rest)?;
            self.scanned += taken as u64;
            rest = &rest[taken..];
        }
        Ok(bytes.len() - rest.len())
    }

    /// Goes over a prefix of `bytes`, which is not empty; returns its length.
    fn part(&mut self, bytes: &[u8]) -> Result<usize, NarError> {
        match &mut self.part {
            Part::Length { have } => {
                if *have == 0 {
                    self.began = self.scanned;
                }
                let count = bytes.len().min(8 - *have);
                self.length[*have..*have + count].copy_from_slice(&bytes[..count]);
                *have += count;
                if *have == 8 {
                    self.begin_word(u64::from_le_bytes(self.length))?;
                }
                Ok(count)
            }
            Part::Word { left, padding } => {
                let count = bytes.len().min(*left);
                self.word.extend_from_slice(&bytes[..count]);
                *left -= count;
                if *left == 0 {
                    let padding = *padding;
                    self.end_word(padding)?;
                }
                Ok(count)
            }
            Part::Content { left, padding } => {
                let count =
                    usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= count as u64;
                if *left == 0 {
                    let padding = *padding;
                    self.end_word(padding)?;
                }
                Ok(count)
            }
            Part::Padding { left } => {
                let count = bytes.len().min(*left);
                *left -= count;
                let ended = *left == 0;
                if bytes[..count].iter().any(|byte| *byte != 0) {
                    return Err(self.error("zero bytes as padding", &bytes[..count]));
                }
                if ended {
                    self.next_word()?;
                }
                Ok(count)
            }
        }
    }

    fn begin_word(&mut self, length: u64) -> Result<(), NarError> {
        self.word.clear();
        if self.surrender == Some(length) && self.grammar.longest().is_some() {
            self.surrendered = true;
            return Ok(());
        }
        let padding = usize::from((8 - (length % 8) as u8) % 8);
        self.part = match self.grammar.longest() {
            None => Part::Content {
                left: length,
                padding,
            },
            Some(longest) => match usize::try_from(length) {
                Ok(left) if length <= longest => Part::Word { left, padding },
                _ => {
                    return Err(NarError {
                        offset: self.began,
                        expected: expected(self.grammar.place).to_owned(),
                        found: format!("a string of {length} bytes"),
                    });
                }
            },
        };
        if length == 0 {
            self.end_word(0)?;
        }
        Ok(())
    }

    /// The bytes of a word are complete; its padding, if any, is not.
    fn end_word(&mut self, padding: usize) -> Result<(), NarError> {
        if padding > 0 {
            self.part = Part::Padding { left: padding };
            return Ok(());
        }
        self.next_word()
    }

    fn next_word(&mut self) -> Result<(), NarError> {
        self.part = Part::Length { have: 0 };
        match self.grammar.step(&self.word) {
            Ok(()) => Ok(()),
            Err(expected) => Err(self.error(&expected, &self.word)),
        }
    }

    fn error(&self, expected: &str, found: &[u8]) -> NarError {
        NarError {
            offset: self.began,
            expected: expected.to_owned(),
            found: format!("`{}`", found.escape_ascii()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(out: &mut Vec<u8>, word: &[u8]) {
        out.extend_from_slice(&(word.len() as u64).to_le_bytes());
        out.extend_from_slice(word);
        out.resize(out.len().next_multiple_of(8), 0);
    }

    fn nar(words: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for each in words {
            word(&mut out, each);
        }
        out
    }

    fn tree() -> Vec<u8> {
        nar(&[
            b"nix-archive-1",
            b"(",
            b"type",
            b"directory",
            b"entry",
            b"(",
            b"name",
            b"bin",
            b"node",
            b"(",
            b"type",
            b"regular",
            b"executable",
            b"",
            b"contents",
            b"#!/bin/sh\n",
            b")",
            b")",
            b"entry",
            b"(",
            b"name",
            b"empty",
            b"node",
            b"(",
            b"type",
            b"regular",
            b"contents",
            b"",
            b")",
            b")",
            b"entry",
            b"(",
            b"name",
            b"link",
            b"node",
            b"(",
            b"type",
            b"symlink",
            b"target",
            b"bin",
            b")",
            b")",
            b")",
        ])
    }

    #[test]
    fn ends_where_the_nar_ends_for_every_split() {
        let nar = tree();
        let mut stream = nar.clone();
        stream.extend_from_slice(b"what follows");
        for size in 1..=stream.len() {
            let mut scanner = Scanner::new();
            let mut taken = 0;
            for chunk in stream.chunks(size) {
                taken += scanner.advance(chunk).unwrap();
                if scanner.is_complete() {
                    break;
                }
            }
            assert_eq!(taken, nar.len(), "in chunks of {size}");
            assert_eq!(scanner.scanned(), nar.len() as u64);
        }
    }

    #[test]
    fn a_sender_may_give_up_between_words() {
        let nar = tree();
        let mark = 0x6378_7470_u64;
        let mut stream = nar[..56].to_vec();
        stream.extend_from_slice(&mark.to_le_bytes());
        stream.extend_from_slice(b"because");
        for size in 1..=stream.len() {
            let mut scanner = Scanner::until(mark);
            let mut taken = 0;
            for chunk in stream.chunks(size) {
                taken += scanner.advance(chunk).unwrap();
            }
            assert!(scanner.has_surrendered() && !scanner.is_complete());
            assert_eq!(taken, 64, "in chunks of {size}");
        }
        assert!(Scanner::new().advance(&stream).is_err());
    }

    #[test]
    fn a_prefix_is_incomplete() {
        let nar = tree();
        let mut scanner = Scanner::new();
        assert_eq!(
            scanner.advance(&nar[..nar.len() - 1]).unwrap(),
            nar.len() - 1
        );
        assert!(!scanner.is_complete());
    }

    #[track_caller]
    fn rejects(bytes: &[u8], message: &str) {
        let error = Scanner::new().advance(bytes).unwrap_err();
        assert_eq!(error.to_string(), message);
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        rejects(
            b"PK\x03\x04 not a NAR at all",
            "bad NAR at its offset 0: expected `nix-archive-1`, found a string of \
             8390045714599856976 bytes",
        );
        rejects(
            &nar(&[b"nix-archive-1", b"(", b"type", b"socket"]),
            "bad NAR at its offset 56: expected `regular`, `symlink` or `directory`, found `socket`",
        );
        let name = [
            &b"nix-archive-1"[..],
            b"(",
            b"type",
            b"directory",
            b"entry",
            b"(",
            b"name",
        ];
        rejects(
            &nar(&[&name[..], &[b".."]].concat()),
            "bad NAR at its offset 128: expected a file name, found `..`",
        );
        rejects(
            &nar(&[&name[..], &[&[b'x'; 256]]].concat()),
            "bad NAR at its offset 128: expected a file name, found a string of 256 bytes",
        );
        let mut padded = nar(&[b"nix-archive-1"]);
        padded[23] = 1;
        rejects(
            &padded,
            "bad NAR at its offset 0: expected zero bytes as padding, found `\\x00\\x00\\x01`",
        );
    }

    #[test]
    fn directories_in_directories_are_limited() {
        let mut deep = nar(&[b"nix-archive-1"]);
        for _ in 0..=super::super::MAX_DEPTH {
            deep.extend(nar(&[
                b"(",
                b"type",
                b"directory",
                b"entry",
                b"(",
                b"name",
                b"d",
                b"node",
            ]));
        }
        let error = Scanner::new().advance(&deep).unwrap_err();
        assert_eq!(error.expected, "at most 1024 directories in each other");
    }
}
