//! `musher machine import`

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use musher_coordinator::config::{
    ConfigFile, Machine, host_system, import_machines, load_nix_machines,
};
use musher_coordinator::setup::replace_file;
use serde::Serialize;

use super::configuration::{existing, read_text};
use crate::context::Context;
use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::places::absolute;
use crate::ui::unified_diff;

/// Take over machines from a file in Nix's own format
///
/// Prints them as they would stand in musher.toml. The file `machines` beside
/// musher.toml needs no import: it is read as it is.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The file, like /etc/nix/machines
    file: PathBuf,
    /// Add them to musher.toml, after showing the difference
    #[arg(long)]
    write: bool,
}

#[derive(Debug, thiserror::Error)]
enum ImportFileError {
    #[error("there is no file `{}`", path.display())]
    Missing { path: PathBuf },
    #[error("`{}` is read together with musher.toml already", path.display())]
    Beside { path: PathBuf },
}

/// What an import did, in JSON.
#[derive(Debug, Serialize)]
struct ImportRecord<'a> {
    /// The configuration.
    file: &'a Path,
    /// The names of the imported machines.
    machines: Vec<&'a str>,
    /// The tables that were or would be added.
    toml: String,
    /// Whether they were.
    written: bool,
}

impl ImportArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Failure> {
        let file = absolute(&self.file)?;
        let target = &context.places.config;
        let machines = read_machines(&self.file, &file, target)?;
        let existing = existing(context)?;
        let text = read_text(target.path())?;
        let after = import_machines(
            text.as_deref().unwrap_or_default(),
            target.path(),
            existing.machines(),
            &machines,
        )?;
        let alone = import_machines("", target.path(), &[], &machines)?;

        if !self.write {
            return self.show(context, &machines, alone);
        }
        if !context.ui.json {
            let diff = unified_diff(target.path(), text.as_deref(), &after);
            context.ui.diff(&diff)?;
        }
        replace_file(target.path(), &after)?;
        if context.ui.json {
            return self.show(context, &machines, alone);
        }
        let path = target.path().display();
        context.ui.note(&match machines.len() {
            1 => format!("added 1 machine to `{path}`"),
            count => format!("added {count} machines to `{path}`"),
        });
        Ok(Outcome::Done)
    }

    /// Prints the tables.
    fn show(
        &self,
        context: &Context,
        machines: &[Machine],
        toml: String,
    ) -> Result<Outcome, Failure> {
        if context.ui.json {
            context.ui.json(&ImportRecord {
                file: context.places.config.path(),
                machines: machines.iter().map(|m| m.name.as_str()).collect(),
                toml,
                written: self.write,
            })?;
        } else {
            context.ui.text(&toml)?;
        }
        Ok(Outcome::Done)
    }
}

fn read_machines(given: &Path, file: &Path, target: &ConfigFile) -> Result<Vec<Machine>, Failure> {
    let same = |a: &Path, b: &Path| match (fs::canonicalize(a), fs::canonicalize(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    };
    let path = given.to_path_buf();
    if same(file, &target.machines_file()) {
        return Err(Failure::user(ImportFileError::Beside { path }));
    }
    load_nix_machines(file, &host_system())?
        .ok_or_else(|| Failure::user(ImportFileError::Missing { path }))
}
