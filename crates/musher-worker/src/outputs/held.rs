//! One new output on its way into the store: where it lies now, and what is
//! known of its contents.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use musher_protocol::types::NarHash;
use musher_store::local::{CanonicalError, Canonicaliser};
use nix_archive::nar::{self, CaseHack, ReferencePattern};
use nix_derivation::StorePath;

use super::Rejection;
use super::aside::Aside;
use super::error::{OutputError, Stop};
use super::remove::remove_tree;
use super::rewrite::{Rewrites, hash_part};
use super::tree::copy_tree;

/// The hash parts to look for, with the paths they stand for.
pub(crate) struct Candidates {
    paths: Vec<StorePath>,
    pattern: ReferencePattern,
}

impl Candidates {
    pub(crate) fn new(paths: BTreeSet<StorePath>) -> Self {
        let pattern = ReferencePattern::new(paths.iter().map(hash_part));
        Self {
            paths: paths.into_iter().collect(),
            pattern: pattern.expect("bug: the hash part of a store path is a hash part"),
        }
    }
}

/// Hash and length of a NAR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NarOf {
    pub(crate) hash: NarHash,
    pub(crate) size: u64,
}

/// A new output, its metadata canonical.
#[derive(Debug)]
pub(crate) struct Held {
    /// The output's name.
    pub(crate) output: String,
    /// Where the build program left it, for whoever is told of it.
    pub(crate) origin: PathBuf,
    /// Where it lies.
    pub(crate) location: PathBuf,
    /// What keeps it where it lies, if that is a place of ours.
    aside: Option<Aside>,
    /// Whether it is one file without execute permission.
    pub(crate) is_plain_file: bool,
    /// Which candidates it refers to; none is looked for if references do not
    /// count.
    pub(crate) references: BTreeSet<StorePath>,
    pub(crate) nar: NarOf,
}

/// What is told of an output before it is looked at.
pub(crate) struct Look<'a> {
    /// The derivation, absolute.
    pub(crate) drv: &'a str,
    /// The output's name.
    pub(crate) output: &'a str,
    /// Where the build program left it.
    pub(crate) location: &'a Path,
    /// Whose it has to be, if not ours.
    pub(crate) owner: Option<u32>,
    /// The store directory on this host, if a fresh copy is wanted.
    pub(crate) copied_to: Option<&'a Path>,
    /// What it may refer to; none if references do not count.
    pub(crate) candidates: Option<&'a Candidates>,
}

impl Look<'_> {
    /// Looks at what the build left, makes it canonical and scans it.
    pub(crate) fn look(self, canonicaliser: &mut Canonicaliser) -> Result<Held, Stop> {
        let found = match fs::symlink_metadata(self.location) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Stop::Rejected(Rejection::Missing {
                    drv: self.drv.to_owned(),
                    output: self.output.to_owned(),
                    location: self.location.display().to_string(),
                }));
            }
            Err(source) => return Err(OutputError::file("look at", self.location)(source).into()),
        };
        let foreign = self.owner.is_some_and(|owner| found.uid() != owner);
        // A link always looks as if anybody could write to it.
        if foreign || !found.is_symlink() && found.mode() & 0o022 != 0 {
            return Err(Stop::Rejected(Rejection::Suspicious {
                location: self.location.display().to_string(),
                output: self.output.to_owned(),
            }));
        }
        canonicalise(canonicaliser, self.drv, self.output, self.location)?;
        let mut held = Held {
            output: self.output.to_owned(),
            origin: self.location.to_owned(),
            location: self.location.to_owned(),
            aside: None,
            is_plain_file: found.is_file() && found.mode() & 0o100 == 0,
            references: BTreeSet::new(),
            nar: NarOf {
                hash: NarHash([0; 32]),
                size: 0,
            },
        };
        if let Some(store) = self.copied_to {
            held.copy(store, &Rewrites::default(), self.drv)?;
        }
        held.scan(self.candidates, self.drv)?;
        Ok(held)
    }
}

impl Held {
    /// Finds hash, length and references.
    fn scan(&mut self, candidates: Option<&Candidates>, drv: &str) -> Result<(), Stop> {
        let none = Candidates::new(BTreeSet::new());
        let candidates = candidates.unwrap_or(&none);
        let scan = candidates
            .pattern
            .scan_path(&self.location, CaseHack::Disabled);
        let scan = scan.map_err(|error| self.unreadable(drv, error))?;
        self.nar = NarOf {
            hash: NarHash(scan.nar_sha256),
            size: scan.nar_size,
        };
        let found = scan.matches.iter();
        let found = found.filter_map(|index| candidates.paths.get(*index));
        self.references = found.cloned().collect();
        Ok(())
    }

    /// Replaces it with a copy, rewritten, that only we can get at, and finds
    /// its hash and length. Which paths it refers to stays as it was found.
    pub(crate) fn rewrite(
        &mut self,
        store: &Path,
        rewrites: &Rewrites,
        drv: &str,
    ) -> Result<(), Stop> {
        self.copy(store, rewrites, drv)?;
        let nar = nar::hash_path(&self.location, CaseHack::Disabled);
        let nar = nar.map_err(|error| self.unreadable(drv, error))?;
        self.nar = NarOf {
            hash: NarHash(nar.sha256),
            size: nar.size,
        };
        Ok(())
    }

    /// Brings it to the store's file system, if it is on another.
    pub(crate) fn bring_near(&mut self, store: &Path, drv: &str) -> Result<(), Stop> {
        self.copy(store, &Rewrites::default(), drv)
    }

    fn copy(&mut self, store: &Path, rewrites: &Rewrites, drv: &str) -> Result<(), Stop> {
        let aside = Aside::create(store).map_err(OutputError::file("make a place in", store))?;
        let place = aside.place();
        copy_tree(&self.location, &place, rewrites)
            .map_err(OutputError::file("copy", &self.location))?;
        canonicalise(&mut Canonicaliser::new(), drv, &self.output, &place)?;
        self.discard()?;
        self.location = place;
        self.aside = Some(aside);
        Ok(())
    }

    /// Removes what is where it lies.
    pub(crate) fn discard(&self) -> Result<(), OutputError> {
        remove_tree(&self.location).map_err(OutputError::file("remove", &self.location))
    }

    pub(crate) fn unreadable(&self, drv: &str, error: nar::Error) -> Stop {
        if let nar::Error::Io(source) = error {
            return OutputError::file("read", &self.location)(source).into();
        }
        Stop::Rejected(if let nar::Error::UnsupportedFileType(file) = error {
            Rejection::UnsupportedType {
                file: file.display().to_string(),
            }
        } else {
            Rejection::NotArchivable {
                drv: drv.to_owned(),
                output: self.output.clone(),
                reason: error.to_string(),
            }
        })
    }
}

fn canonicalise(
    canonicaliser: &mut Canonicaliser,
    drv: &str,
    output: &str,
    location: &Path,
) -> Result<(), Stop> {
    let Err(error) = canonicaliser.canonicalise(location) else {
        return Ok(());
    };
    Err(match error {
        CanonicalError::Kind { path, .. } => Stop::Rejected(Rejection::UnsupportedType {
            file: path.display().to_string(),
        }),
        CanonicalError::Owner { path, .. } => Stop::Rejected(Rejection::ForeignFile {
            file: path.display().to_string(),
        }),
        CanonicalError::Deep { .. } => Stop::Rejected(Rejection::NotArchivable {
            drv: drv.to_owned(),
            output: output.to_owned(),
            reason: "its directories lie too deep in each other".to_owned(),
        }),
        CanonicalError::Io {
            attempt,
            path,
            source,
        } => Stop::Failed(OutputError::File {
            attempt,
            path,
            source,
        }),
    })
}
