//! What stops a builtin. It ends as the build's failure, its text in the log;
//! so the words are Nix's where people know them.

use std::io;
use std::path::{Path, PathBuf};

/// A builtin that could not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum BuiltinError {
    /// No builtin of that name.
    #[error("unsupported builtin builder '{name}'")]
    Unknown {
        /// The name, without `builtin:`.
        name: String,
    },
    /// The worker's order is not understood.
    #[error("cannot read what the builtin is to do")]
    ReadOrder {
        /// Why.
        source: serde_json::Error,
    },
    /// The derivation has no output `out`.
    #[error("a builtin builder requires an 'out' output")]
    NoOut,
    /// The derivation lacks an attribute.
    #[error("attribute '{attribute}' missing")]
    MissingAttribute {
        /// Its name.
        attribute: String,
    },
    /// An attribute is not UTF-8.
    #[error("attribute '{attribute}' is not text")]
    NotText {
        /// Its name.
        attribute: String,
    },
    /// An attribute makes no sense.
    #[error("attribute '{attribute}' is not {expected}: found '{found}'")]
    BadAttribute {
        /// Its name.
        attribute: &'static str,
        /// What it should be.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A file could not be used.
    #[error("cannot {attempt} '{}'", .path.display())]
    File {
        /// What was tried: `read`, `create`.
        attempt: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },

    /// A download by a derivation whose result nobody can verify.
    #[error("'builtin:fetchurl' must be a fixed-output or impure derivation")]
    NotFixed,
    /// The URL is none, or one of a kind that is not fetched.
    #[error("cannot fetch '{url}': {reason}")]
    Url {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No connection can be made at all.
    #[error("cannot prepare to download")]
    Client {
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server said no.
    #[error("unable to download '{url}': HTTP error {status}{}", with_reply(.reply))]
    Status {
        /// What was asked for.
        url: String,
        /// The status code.
        status: u16,
        /// How the server's answer begins.
        reply: String,
    },
    /// The connection failed.
    #[error("unable to download '{url}'")]
    Download {
        /// What was asked for.
        url: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What was downloaded is no NAR.
    #[error("cannot unpack what was downloaded from '{url}'")]
    Unpack {
        /// Where it came from.
        url: String,
        /// What is wrong with it.
        source: nix_archive::nar::Error,
    },

    /// An archive cannot be read.
    #[error("failed to read archive '{}'", .path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A member of an archive is not to be unpacked.
    #[error("member '{member}' of archive '{}' {reason}", .path.display())]
    Member {
        /// The archive.
        path: PathBuf,
        /// The member's name.
        member: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A member of an archive could not be written.
    #[error("cannot unpack member '{member}' of archive '{}'", .path.display())]
    WriteMember {
        /// The archive.
        path: PathBuf,
        /// The member's name.
        member: String,
        /// Why not.
        source: io::Error,
    },
    /// A channel's archive holds nothing.
    #[error("channel tarball '{}' is empty", .path.display())]
    EmptyChannel {
        /// The archive.
        path: PathBuf,
    },
    /// A channel's archive holds more than one thing.
    #[error("channel tarball '{}' contains more than one file", .path.display())]
    CrowdedChannel {
        /// The archive.
        path: PathBuf,
    },

    /// A package has a directory where another has something else.
    #[error("collision between '{}' and non-directory '{}'", .directory.display(), .other.display())]
    NotDirectory {
        /// The directory.
        directory: PathBuf,
        /// What the other has.
        other: PathBuf,
    },
    /// A package has something else where another has a directory.
    #[error("collision between non-directory '{}' and directory '{}'", .file.display(), .directory.display())]
    NotFile {
        /// What is no directory.
        file: PathBuf,
        /// The directory.
        directory: PathBuf,
    },
    /// Two packages have the same file, and neither comes first.
    #[error(
        "Unable to build profile. There is a conflict for the following files:\n\n  {}\n  {}",
        .first.display(), .second.display()
    )]
    Conflict {
        /// The file of the package that was there.
        first: PathBuf,
        /// That of the other.
        second: PathBuf,
        /// The priority of both.
        priority: i64,
    },
}

impl BuiltinError {
    pub(super) fn file(attempt: &'static str, path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::File {
            attempt,
            path: path.to_owned(),
            source,
        }
    }

    /// Advice the user can act on, if there is any.
    pub fn help(&self) -> Option<String> {
        let Self::Conflict { priority, .. } = self else {
            return None;
        };
        Some(format!(
            "both packages have priority {priority}; give one of them a lower number, which comes \
             first, with `nix-env --set-flag priority NUMBER PACKAGE`"
        ))
    }
}

fn with_reply(reply: &str) -> String {
    if reply.is_empty() {
        return String::new();
    }
    format!("\n\n{reply}")
}
