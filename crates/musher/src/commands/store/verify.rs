//! `musher store verify`

use std::error::Error;

use clap::Args;
use musher_store::local::{Access, Damage, VerifyOptions, VerifyProgress};
use serde::Serialize;

use super::on_disk;
use crate::context::Context;
use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::ui::quantity;

/// Compare what a store on this disk should hold with what it holds
///
/// Every valid path must be there, and the database whole. The exit code is 1 if
/// something is damaged; nothing is changed unless that is asked for.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The store: a directory, local, or auto where no Nix is installed
    #[arg(long, value_name = "URL", default_value = "auto")]
    store: String,
    /// Read all contents and compare their hashes
    #[arg(long)]
    check_contents: bool,
    /// Make paths invalid whose files are gone, if nothing that is there needs
    /// them
    #[arg(long)]
    forget: bool,
}

/// What verifying found, in JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct VerifyRecord {
    paths: usize,
    /// That were hashed.
    bytes: u64,
    /// What may be well, but cannot be read.
    unverified: Vec<String>,
    damages: Vec<String>,
}

impl VerifyArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Failure> {
        let access = match self.forget {
            true => Access::ReadWrite,
            false => Access::ReadOnly,
        };
        let store = on_disk::open(context, &self.store, access)?;
        let options = VerifyOptions {
            contents: self.check_contents,
            forget: self.forget,
        };
        let mut progress = context.ui.progress();
        let report = store.verify(options, &mut |state| progress.update(|| line(state)));
        drop(progress);
        let report = report.map_err(|source| on_disk::failure("verify", &self.store, source))?;
        let record = VerifyRecord {
            paths: report.paths,
            bytes: report.bytes,
            unverified: report.unverified.iter().map(|path| told(path)).collect(),
            damages: report.damages.iter().map(story).collect(),
        };
        let well = record.damages.is_empty();
        if context.ui.json {
            context.ui.json(&record)?;
        } else {
            for line in record.unverified.iter().chain(&record.damages) {
                context.ui.text(&format!("{line}\n"))?;
            }
        }
        let read = match record.bytes {
            0 => String::new(),
            bytes => format!(", {} read", quantity::size(bytes)),
        };
        let found = match record.damages.len() {
            0 => "no damage".to_owned(),
            count => counted(count, "damage"),
        };
        let paths = counted(record.paths, "path");
        let unread = match record.unverified.len() {
            0 => String::new(),
            count => format!(", {count} cannot be read by this release"),
        };
        context.ui.note(&format!("{paths}{read}{unread}, {found}"));
        Ok(Outcome::of(well))
    }
}

fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}

fn line(state: VerifyProgress) -> String {
    let VerifyProgress { done, total, bytes } = state;
    format!("{done} of {total} paths, {}", quantity::size(bytes))
}

/// A damage with its causes.
fn story(damage: &Damage) -> String {
    let mut story = told(damage);
    if let Damage::Gone {
        forgotten: true, ..
    } = damage
    {
        story.push_str("; it is not valid any more");
    }
    story
}

/// What was found, with its causes.
fn told(found: &dyn Error) -> String {
    let mut told = found.to_string();
    let mut cause = found.source();
    while let Some(error) = cause {
        told.push_str(&format!(": {error}"));
        cause = error.source();
    }
    told
}
