//! `musher setup`

mod store;

use std::env;
use std::path::{Path, PathBuf};

use clap::Args;
use musher_coordinator::setup::{
    CurrentFiles, Entrance, FileChange, SetupFiles, SetupNote, SetupPlan, plan,
};
use musher_store::has_nix;
use nix_derivation::StoreDir;
use serde::Serialize;

use crate::context::Context;
use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::places::absolute;
use crate::ui::{Ui, unified_diff};

/// Make stock Nix on this host build through musher
///
/// Prints the builders, one line a capability class, and the lines for
/// nix.conf that make Nix use them.
#[derive(Debug, Args)]
pub(crate) struct SetupArgs {
    /// Put them there, after showing the difference
    #[arg(long)]
    write: bool,
    /// Be the store of stock Nix instead of its builder: the line for a user's own nix.conf, or
    /// for the environment
    #[arg(long, conflicts_with_all = ["builders_file", "program"])]
    store: bool,
    #[command(flatten)]
    places: SetupPlaces,
}

/// The files of Nix, and the program that they shall lead to.
#[derive(Debug, Args)]
pub(super) struct SetupPlaces {
    /// Nix's configuration [default: nix.conf in Nix's usual directory]
    #[arg(long, value_name = "FILE")]
    nix_conf: Option<PathBuf>,
    /// The file of builders that nix.conf includes [default: musher-builders beside nix.conf]
    #[arg(long, value_name = "FILE")]
    builders_file: Option<PathBuf>,
    /// The program that Nix starts for a session [default: this one]
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot find out where this program is")]
struct UnknownProgram {
    source: std::io::Error,
}

/// What `setup` did or would do, in JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct SetupRecord<'a> {
    builders_file: FileRecord<'a>,
    nix_conf: FileRecord<'a>,
    /// The lines that nix.conf must have.
    settings: &'a [String],
    notes: Vec<String>,
    /// The files that were written.
    written: Vec<&'a Path>,
}

#[derive(Debug, Serialize)]
struct FileRecord<'a> {
    path: &'a Path,
    text: &'a str,
    diff: String,
}

impl SetupArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Failure> {
        let ui = &context.ui;
        if self.store {
            let nix_conf = self.places.nix_conf.as_deref().map(absolute).transpose()?;
            return store::run(context, nix_conf, self.write);
        }
        if !self.places.names_nix_conf() && !has_nix() {
            ui.note(
                "no Nix is found on this host, and only stock Nix reads these files; `musher \
                 build` needs neither",
            );
        }
        let plan = self.places.plan(context)?;
        match (self.write, ui.json) {
            (false, false) => show(ui, &plan)?,
            (false, true) => ui.json(&record(&plan, &[]))?,
            (true, false) => {
                ui.diff(&diff(&plan.builders))?;
                ui.diff(&diff(&plan.nix_conf))?;
                notes(ui, &plan);
                tell_written(ui, &plan.apply()?);
            }
            (true, true) => {
                let written = plan.apply()?;
                ui.json(&record(&plan, &written))?;
            }
        }
        Ok(Outcome::Done)
    }
}

impl SetupPlaces {
    /// Whether the command line says where Nix's configuration is.
    pub(super) fn names_nix_conf(&self) -> bool {
        self.nix_conf.is_some()
    }

    /// What would have to be changed.
    pub(super) fn plan(&self, context: &Context) -> Result<SetupPlan, Failure> {
        let config = context.config()?;
        let nix_conf = match &self.nix_conf {
            Some(path) => absolute(path)?,
            None => context.places.nix_conf_dir()?.join("nix.conf"),
        };
        let files = SetupFiles {
            builders: match &self.builders_file {
                Some(path) => absolute(path)?,
                None => nix_conf.with_file_name("musher-builders"),
            },
            nix_conf,
        };
        let program = match &self.program {
            Some(program) => program.clone(),
            None => env::current_exe()
                .map_err(|source| Failure::environment(UnknownProgram { source }))?,
        };
        let options: Vec<&str> = context.places.options.iter().map(String::as_str).collect();
        let entrance = Entrance::new(&program, &options)?;
        let store = StoreDir::default().to_string();
        let current = CurrentFiles::read(&files, store.as_ref())?;
        Ok(plan(&config, &entrance, &files, current)?)
    }
}

fn show(ui: &Ui, plan: &SetupPlan) -> Result<(), Failure> {
    ui.text(&format!(
        "# {}\n{}\n# {}\n{}\n",
        plan.builders.path.display(),
        plan.builders.after,
        plan.nix_conf.path.display(),
        plan.settings.join("\n"),
    ))?;
    notes(ui, plan);
    Ok(())
}

fn tell_written(ui: &Ui, written: &[&Path]) {
    for path in written {
        ui.note(&format!("wrote `{}`", path.display()));
    }
    ui.note(if written.is_empty() {
        "everything is set up already"
    } else {
        "restart nix-daemon, which reads nix.conf when it starts"
    });
}

fn notes(ui: &Ui, plan: &SetupPlan) {
    for note in &plan.notes {
        ui.note(&describe(note));
    }
}

fn record<'a>(plan: &'a SetupPlan, written: &[&'a Path]) -> SetupRecord<'a> {
    let file = |change: &'a FileChange| FileRecord {
        path: &change.path,
        text: &change.after,
        diff: diff(change),
    };
    SetupRecord {
        builders_file: file(&plan.builders),
        nix_conf: file(&plan.nix_conf),
        settings: &plan.settings,
        notes: plan.notes.iter().map(describe).collect(),
        written: written.to_vec(),
    }
}

fn diff(change: &FileChange) -> String {
    unified_diff(&change.path, change.before.as_deref(), &change.after)
}

/// A note as a sentence.
pub(super) fn describe(note: &SetupNote) -> String {
    match note {
        SetupNote::Skipped(error) => match error.help() {
            Some(help) => format!("{error}; {help}"),
            None => error.to_string(),
        },
        SetupNote::BuildersReplaced { value } => format!(
            "Nix will no longer use `builders = {value}`; `musher machine import` takes machines \
             over"
        ),
        SetupNote::MachinesForgotten { path } => format!(
            "Nix will no longer read `{0}`; `musher machine import {0} --write` takes its \
             machines over",
            path.display()
        ),
        SetupNote::IncludedLater { files } => format!(
            "nix.conf includes {} behind a line of ours and so may override it",
            files.join(", ")
        ),
    }
}
