//! Makes stock Nix build through musher: one file of ours with the builders,
//! and three lines in `nix.conf`. Planning is pure; [`CurrentFiles::read`] and
//! [`SetupPlan::apply`] touch the disk.

mod builders_file;
mod entrance;
mod error;
mod nix_conf;
mod replace_file;
mod store_line;

use std::path::{Path, PathBuf};
use std::{fs, io};

use musher_scheduler::{CapabilityClass, capability_classes};

pub(crate) use builders_file::leads_to;
pub use builders_file::{nix_max_jobs, write_builders_file};
pub use entrance::{Entrance, EntranceError};
pub use error::SetupError;
pub use replace_file::{ReplaceError, replace_file};
pub use store_line::StoreSetup;

use crate::config::{Config, Machine, NotDrivable};
use nix_conf::Setting;

/// The two files that `setup` writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetupFiles {
    /// Nix's configuration.
    pub nix_conf: PathBuf,
    /// The file of builders that it will include.
    pub builders: PathBuf,
}

impl SetupFiles {
    fn machines(&self) -> PathBuf {
        self.nix_conf.with_file_name("machines")
    }
}

/// What those files hold now; none for a file that does not exist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CurrentFiles {
    /// The text of `nix.conf`.
    pub nix_conf: Option<String>,
    /// The text of the builders file.
    pub builders: Option<String>,
    /// Whether there are machines beside `nix.conf`, where Nix looks unless
    /// `builders` is set.
    pub has_machines: bool,
}

/// One file before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// The file.
    pub path: PathBuf,
    /// What it holds now; none if it does not exist.
    pub before: Option<String>,
    /// What it shall hold.
    pub after: String,
}

impl FileChange {
    /// Whether anything is to be written.
    pub fn is_needed(&self) -> bool {
        self.before.as_ref() != Some(&self.after)
    }
}

/// What `setup` would do, and what the user should know about it.
#[derive(Debug, Clone, PartialEq)]
pub struct SetupPlan {
    /// The file of builders, one line a capability class.
    pub builders: FileChange,
    /// `nix.conf`, with our settings and everything else as it was.
    pub nix_conf: FileChange,
    /// The lines that `nix.conf` must have, for who wants to write them.
    pub settings: Vec<String>,
    /// What deserves a word.
    pub notes: Vec<SetupNote>,
}

/// Something about a plan that the user should know.
#[derive(Debug, Clone, PartialEq)]
pub enum SetupNote {
    /// A machine that gets no builds.
    Skipped(NotDrivable),
    /// `builders` had another value, which goes.
    BuildersReplaced {
        /// That value.
        value: String,
    },
    /// Nix read its builders from its usual file, and will no longer.
    MachinesForgotten {
        /// That file.
        path: PathBuf,
    },
    /// Files that `nix.conf` includes behind a setting of ours, which may
    /// therefore override it.
    IncludedLater {
        /// The files as written.
        files: Vec<String>,
    },
}

impl CurrentFiles {
    /// Reads what is there. `store_dir` is where Nix keeps its store: a file
    /// that leads there belongs to a configuration kept elsewhere.
    pub fn read(files: &SetupFiles, store_dir: &Path) -> Result<Self, SetupError> {
        Ok(Self {
            nix_conf: read(&files.nix_conf, store_dir)?,
            builders: read(&files.builders, store_dir)?,
            has_machines: files.machines().exists(),
        })
    }
}

fn read(path: &Path, store_dir: &Path) -> Result<Option<String>, SetupError> {
    let failed = |source| SetupError::Read {
        path: path.to_path_buf(),
        source,
    };
    let target = match fs::canonicalize(path) {
        Ok(target) => target,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if target.starts_with(store_dir) {
        return Err(SetupError::InStore {
            path: path.to_path_buf(),
            target,
        });
    }
    fs::read_to_string(&target).map(Some).map_err(failed)
}

/// The classes of the machines that can be driven and have slots: what Nix is
/// told of.
pub fn offered_classes(machines: &[Machine]) -> Vec<CapabilityClass> {
    let specs: Vec<_> = machines
        .iter()
        .filter(|machine| machine.max_jobs > 0 && machine.driven().is_ok())
        .map(Machine::spec)
        .collect();
    capability_classes(&specs)
}

/// Plans both files, given what they hold now.
pub fn plan(
    config: &Config,
    entrance: &Entrance,
    files: &SetupFiles,
    current: CurrentFiles,
) -> Result<SetupPlan, SetupError> {
    let classes = offered_classes(config.machines());
    if classes.is_empty() {
        // `max-jobs = 0` without a builder would stop every build there is.
        return Err(SetupError::NoMachines {
            first: config
                .machines()
                .iter()
                .find_map(|machine| machine.driven().err()),
        });
    }
    let settings = [
        Setting::new("builders", &[], builders_value(&files.builders)?),
        Setting::new(
            "builders-use-substitutes",
            &[],
            config.settings.builders_use_substitutes.to_string(),
        ),
        Setting::new("max-jobs", &["build-max-jobs"], "0".to_owned()),
    ];
    let edit = nix_conf::edit(current.nix_conf.as_deref().unwrap_or_default(), &settings);

    Ok(SetupPlan {
        notes: notes(config, files, current.has_machines, &edit),
        builders: FileChange {
            path: files.builders.clone(),
            before: current.builders,
            after: builders_file::render(&classes, entrance),
        },
        nix_conf: FileChange {
            path: files.nix_conf.clone(),
            before: current.nix_conf,
            after: edit.text,
        },
        settings: settings.iter().map(Setting::line).collect(),
    })
}

fn notes(
    config: &Config,
    files: &SetupFiles,
    has_machines: bool,
    edit: &nix_conf::Edit,
) -> Vec<SetupNote> {
    let skipped = config.machines().iter().filter_map(|m| m.driven().err());
    let mut notes: Vec<_> = skipped.map(SetupNote::Skipped).collect();
    match &edit.builders {
        None if has_machines => notes.push(SetupNote::MachinesForgotten {
            path: files.machines(),
        }),
        Some(value)
            if !value.is_empty()
                && builders_value(&files.builders).ok().as_ref() != Some(value) =>
        {
            notes.push(SetupNote::BuildersReplaced {
                value: value.clone(),
            });
        }
        _ => {}
    }
    if !edit.included_later.is_empty() {
        notes.push(SetupNote::IncludedLater {
            files: edit.included_later.clone(),
        });
    }
    notes
}

/// `@FILE`, which Nix reads afresh for every session.
fn builders_value(file: &Path) -> Result<String, SetupError> {
    let unusable = |c: char| c.is_whitespace() || matches!(c, '#' | ';');
    match file.to_str() {
        Some(text) if file.is_absolute() && !text.contains(unusable) => Ok(format!("@{text}")),
        _ => Err(SetupError::BuildersPath {
            path: file.to_path_buf(),
        }),
    }
}

impl SetupPlan {
    /// Writes what has to be written, the builders before the configuration
    /// that names them, and returns the files written.
    pub fn apply(&self) -> Result<Vec<&Path>, SetupError> {
        let mut written = Vec::new();
        for change in [&self.builders, &self.nix_conf] {
            if change.is_needed() {
                replace_file(&change.path, &change.after)
                    .map_err(|source| SetupError::Write { source })?;
                written.push(change.path.as_path());
            }
        }
        Ok(written)
    }
}

#[cfg(test)]
mod tests;
