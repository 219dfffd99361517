//! The command by which Nix starts a session of ours, as a store URL.

use std::fmt::Write as _;
use std::path::Path;

/// `musher serve` with the options that it needs to find this coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entrance {
    words: Vec<String>,
}

/// A command that Nix's `remote-program` cannot express.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntranceError {
    /// A word that would fall apart or be lost.
    #[error("Nix cannot be told to run `{word}`: it separates words by spaces")]
    Word {
        /// The word.
        word: String,
    },
    /// A program that depends on where Nix runs.
    #[error("Nix needs the absolute path of musher, not `{program}`")]
    Relative {
        /// The program as given.
        program: String,
    },
}

impl Entrance {
    /// The entrance of `program` (an absolute path) with `options`, like
    /// `--run DIR`, before those of one class.
    pub fn new(program: &Path, options: &[&str]) -> Result<Self, EntranceError> {
        let program = program.to_string_lossy();
        if !program.starts_with('/') {
            return Err(EntranceError::Relative {
                program: program.into_owned(),
            });
        }
        let words: Vec<String> = [program.as_ref(), "serve"]
            .into_iter()
            .chain(options.iter().copied())
            .map(str::to_owned)
            .collect();
        let splits = |word: &&String| {
            word.is_empty() || word.contains(|c: char| c.is_whitespace() || c == '\u{fffd}')
        };
        match words.iter().find(splits) {
            Some(word) => Err(EntranceError::Word { word: word.clone() }),
            None => Ok(Self { words }),
        }
    }

    /// The store URL of one capability class. Nix starts the program itself,
    /// without ssh, because the host is exactly `localhost`.
    pub(super) fn url(&self, class: &str) -> String {
        let command = format!("{} --class {class}", self.words.join(" "));
        format!("ssh-ng://localhost?remote-program={}", encode(&command))
    }
}

/// Percent-encodes everything that means something in a URL, in a machines
/// file or in `nix.conf`.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
