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
    /// A word that would fall apart.
    #[error("Nix cannot be given the word `{word}`: it separates by blanks, and may ask a shell")]
    Word {
        /// The word.
        word: String,
    },
    /// A command too long for what Nix makes of it.
    #[error("the command for Nix is {over} bytes too long: Nix makes a file name of it")]
    TooLong {
        /// How many bytes of its URL are too many.
        over: usize,
    },
    /// A program that depends on where Nix runs.
    #[error("Nix needs the absolute path of musher, not `{program}`")]
    Relative {
        /// The program as given.
        program: String,
    },
}

/// Nix locks a file for each slot, called by the URL and the slot's number.
const LONGEST_NAME: usize = 255;
const ROOM_FOR_CLASS: usize = 33;
const ROOM_FOR_SLOT: usize = "-99999".len();

impl EntranceError {
    /// Advice the user can act on.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Word { .. } | Self::Relative { .. } => {
                "choose another program by `--program`, or other directories".to_owned()
            }
            Self::TooLong { .. } => {
                "use shorter paths for `--program`, `--config`, `--run` and `--state`".to_owned()
            }
        })
    }
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
        match words.iter().find(|word| !is_plain(word)) {
            Some(word) => Err(EntranceError::Word { word: word.clone() }),
            None => Self { words }.checked(),
        }
    }

    fn checked(self) -> Result<Self, EntranceError> {
        match (self.url("").len() + ROOM_FOR_CLASS + ROOM_FOR_SLOT).checked_sub(LONGEST_NAME) {
            None | Some(0) => Ok(self),
            Some(over) => Err(EntranceError::TooLong { over }),
        }
    }

    /// The store URL of one capability class. Nix starts the program itself,
    /// without ssh, because the host is exactly `localhost`.
    pub(super) fn url(&self, class: &str) -> String {
        let command = format!("{} --class {class}", self.words.join(" "));
        format!("ssh-ng://localhost?remote-program={}", encode(&command))
    }
}

/// Whether a word stays as it is. Nix splits the command at blanks; older ones,
/// 2.8 among them, hand it to `bash -c`.
fn is_plain(word: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || "/-._+:@%,=".contains(c);
    !word.is_empty() && word.chars().all(plain)
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
