//! What can go wrong in a store on disk, and whose fault it is.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix_archive::nar;
use rusqlite::ErrorCode;

use super::CanonicalError;
use crate::LockHolder;

/// Whose fault an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// What was asked cannot be done, here or anywhere.
    User,
    /// This host stood in the way (a full disk, permissions): elsewhere or
    /// later it may work.
    Environment,
    /// The store is damaged.
    Corrupt,
}

/// Why a store on disk did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The system refused.
    #[error("cannot {attempt} `{}`", .path.display())]
    Io {
        /// What was tried.
        attempt: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The database refused.
    #[error("cannot {attempt} in the database `{}`", .path.display())]
    Database {
        /// What was tried.
        attempt: &'static str,
        /// Its file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// A row of the database makes no sense.
    #[error("the database `{}` has a bad {what} for `{key}`: `{found}`", .path.display())]
    BadRow {
        /// Its file.
        path: PathBuf,
        /// Which column.
        what: &'static str,
        /// Which row.
        key: String,
        /// What is there.
        found: String,
    },
    /// A lock was not waited for to the end.
    #[error("nobody waits for the lock `{}` any more", .path.display())]
    Unwanted {
        /// The file.
        path: PathBuf,
    },
    /// A garbage collector keeps everybody waiting.
    #[error(
        "the garbage collector of {} has not answered for {} s; it holds `{}`",
        .holder.as_ref().map_or_else(|| "another process".to_owned(), ToString::to_string),
        .after.as_secs(), .lock.display()
    )]
    SilentCollector {
        /// The lock that it holds.
        lock: PathBuf,
        /// Which, where that can be seen.
        holder: Option<LockHolder>,
        /// For how long it was waited.
        after: Duration,
    },
    /// The layout on disk is of another version.
    #[error("the store's schema in `{}` is version {found}, not {}", .path.display(), super::layout::SCHEMA)]
    OtherSchema {
        /// The file that says so.
        path: PathBuf,
        /// What it says.
        found: u32,
    },
    /// The file that has the layout's version makes no sense.
    #[error("`{}` has no version but `{found}`", .path.display())]
    BadSchema {
        /// The file.
        path: PathBuf,
        /// How it begins.
        found: String,
    },
    /// There is no store, and none may be made.
    #[error("there is no store at `{}`", .path.display())]
    NoStore {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The store directory, or one above it, is a link.
    #[error("`{}` is a symbolic link, which a store may not lie behind", .path.display())]
    Link {
        /// The link.
        path: PathBuf,
    },
    /// The store was opened to be read.
    #[error("cannot {attempt}: the store `{}` is open read-only", .store.display())]
    ReadOnly {
        /// What was tried.
        attempt: &'static str,
        /// The store directory on this host.
        store: PathBuf,
    },
    /// A path is needed that the store does not have.
    #[error("path `{path}` is not valid in this store")]
    NotValid {
        /// The path, absolute.
        path: String,
    },
    /// A path cannot be registered without what it refers to.
    #[error("path `{path}` refers to `{reference}`, which is not valid in this store")]
    NoReference {
        /// The path.
        path: String,
        /// What it refers to.
        reference: String,
    },
    /// Paths that refer to each other.
    #[error("the references of `{path}` lead back to it")]
    Cycle {
        /// One of them.
        path: String,
    },
    /// A hash part is none.
    #[error("`{found}` is no hash part of a store path")]
    BadHashPart {
        /// What was given.
        found: String,
    },
    /// A derivation's file makes no sense.
    #[error("cannot understand the derivation `{path}`")]
    Derivation {
        /// The derivation.
        path: String,
        /// What is wrong with it.
        #[source]
        source: nix_derivation::Error,
    },
    /// A derivation would be built in another's name.
    #[error("the derivation `{path}` has outputs that are not its own")]
    FalseOutputs {
        /// The derivation.
        path: String,
    },
    /// A NAR cannot be unpacked.
    #[error("cannot unpack the NAR of `{path}`")]
    Unpack {
        /// The path.
        path: String,
        /// What is wrong with the NAR, or with the disk.
        #[source]
        source: nar::Error,
    },
    /// A path cannot be read as a NAR.
    #[error("cannot read `{path}` as a NAR")]
    Pack {
        /// The path.
        path: String,
        /// What is wrong with its files, or with whoever takes the NAR.
        #[source]
        source: nar::Error,
    },
    /// A NAR is not the one it was said to be, or contents are not what the
    /// content address says.
    #[error("`{path}` should have hash `{expected}`, but has `{found}`")]
    OtherHash {
        /// The path.
        path: String,
        /// The hash it should have.
        expected: String,
        /// The hash it has.
        found: String,
    },
    /// A NAR is longer or shorter than it was said to be.
    #[error("the NAR of `{path}` should have {expected} bytes, but has {found}")]
    OtherSize {
        /// The path.
        path: String,
        /// In bytes.
        expected: u64,
        /// In bytes.
        found: u64,
    },
    /// A path's name does not follow from the content address it claims.
    #[error("`{path}` claims the content address `{ca}`, but is named otherwise")]
    FalseClaim {
        /// The path.
        path: String,
        /// The claim.
        ca: String,
    },
    /// Nobody who is trusted vouches for a path.
    #[error("`{path}` lacks a signature by a trusted key")]
    Unsigned {
        /// The path.
        path: String,
    },
    /// A file tree cannot become a store path.
    #[error("cannot give a path the metadata of a store")]
    Canonical(#[source] CanonicalError),
    /// A path cannot be named so.
    #[error("cannot name a path `{name}`")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it, or with its content address.
        #[source]
        source: nix_derivation::store_path::Error,
    },
    /// A content address cannot be made.
    #[error("cannot address `{name}` by its contents")]
    Address {
        /// The path's name.
        name: String,
        /// What is wrong.
        #[source]
        source: nix_derivation::hash::Error,
    },
    /// A path was to be deleted that something needs.
    #[error("cannot delete `{path}`, which is needed by {by}")]
    InUse {
        /// The path.
        path: String,
        /// Who needs it.
        by: String,
    },
    /// A realisation contradicts one that is known.
    #[error("output `{output}` is known to be `{known}`, and cannot be `{new}` as well")]
    OtherRealisation {
        /// The output.
        output: String,
        /// The path known.
        known: String,
        /// The path given.
        new: String,
    },
}

impl LocalError {
    /// An error of the system's, on `path`.
    pub(super) fn io(attempt: &'static str, path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io {
            attempt,
            path: path.to_owned(),
            source,
        }
    }

    /// Whose fault it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Io { .. }
            | Self::Unwanted { .. }
            | Self::SilentCollector { .. }
            | Self::Canonical(CanonicalError::Io { .. }) => ErrorClass::Environment,
            Self::Canonical(_) => ErrorClass::User,
            Self::Unpack { source, .. } | Self::Pack { source, .. }
                if matches!(source, nar::Error::Io(_)) =>
            {
                ErrorClass::Environment
            }
            Self::Unpack { .. } | Self::Pack { .. } => ErrorClass::User,
            Self::Database { source, .. } => match source.sqlite_error_code() {
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => ErrorClass::Corrupt,
                _ => ErrorClass::Environment,
            },
            Self::BadRow { .. } | Self::BadSchema { .. } => ErrorClass::Corrupt,
            Self::OtherSchema { .. }
            | Self::NoStore { .. }
            | Self::Link { .. }
            | Self::ReadOnly { .. }
            | Self::NotValid { .. }
            | Self::NoReference { .. }
            | Self::Cycle { .. }
            | Self::BadHashPart { .. }
            | Self::Derivation { .. }
            | Self::FalseOutputs { .. }
            | Self::OtherHash { .. }
            | Self::OtherSize { .. }
            | Self::FalseClaim { .. }
            | Self::Unsigned { .. }
            | Self::InUse { .. }
            | Self::Name { .. }
            | Self::Address { .. }
            | Self::OtherRealisation { .. } => ErrorClass::User,
        }
    }

    /// Whether the disk, or the user's share of it, is full.
    pub fn is_disk_full(&self) -> bool {
        if let Self::Database { source, .. } = self {
            return source.sqlite_error_code() == Some(ErrorCode::DiskFull);
        }
        let (Self::Io { source, .. }
        | Self::Canonical(CanonicalError::Io { source, .. })
        | Self::Unpack {
            source: nar::Error::Io(source),
            ..
        }) = self
        else {
            return false;
        };
        matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    }

    /// Whether the files belong to somebody else, who does not let us.
    pub fn is_forbidden(&self) -> bool {
        if let Self::Database { source, .. } = self {
            let code = source.sqlite_error_code();
            return matches!(
                code,
                Some(ErrorCode::PermissionDenied | ErrorCode::ReadOnly)
            );
        }
        let Self::Io { source, .. } = self else {
            return false;
        };
        matches!(
            source.kind(),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
        )
    }

    /// Advice the user can act on, if there is any.
    pub fn help(&self) -> Option<String> {
        if self.is_disk_full() {
            return Some("free some space there, for instance with `musher store gc`".to_owned());
        }
        let help = match self {
            Self::OtherSchema { found, .. } if *found < super::layout::SCHEMA => {
                "open the store once with a current Nix, which brings it up to date"
            }
            Self::OtherSchema { .. } => "use a newer Musher",
            Self::Unsigned { .. } => {
                "sign it with a key that this store trusts, or have a trusted user copy it"
            }
            Self::SilentCollector { .. } => "let it go on if it was stopped, or end it",
            Self::Link { .. } => "name the place that the link leads to",
            Self::NoReference { reference, .. } => {
                return Some(format!("add `{reference}` to the store first"));
            }
            _ if self.class() == ErrorClass::Corrupt => {
                "`musher store verify` says what is left of it; a store that only caches can be \
                 deleted"
            }
            Self::Io { .. }
            | Self::Unwanted { .. }
            | Self::Database { .. }
            | Self::BadRow { .. }
            | Self::BadSchema { .. }
            | Self::NoStore { .. }
            | Self::ReadOnly { .. }
            | Self::NotValid { .. }
            | Self::Cycle { .. }
            | Self::BadHashPart { .. }
            | Self::Derivation { .. }
            | Self::FalseOutputs { .. }
            | Self::Unpack { .. }
            | Self::Pack { .. }
            | Self::OtherHash { .. }
            | Self::OtherSize { .. }
            | Self::FalseClaim { .. }
            | Self::Canonical(_)
            | Self::Name { .. }
            | Self::Address { .. }
            | Self::InUse { .. }
            | Self::OtherRealisation { .. } => return None,
        };
        Some(help.to_owned())
    }
}
