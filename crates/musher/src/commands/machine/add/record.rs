//! What adding a machine did, for people and as JSON.

use std::path::Path;

use musher_coordinator::enrol::{Proposal, Survey};
use serde::Serialize;

use crate::check::{Check, Finding};
use crate::ui::quantity;

/// What was done, in JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct AddRecord<'a> {
    /// What the machine is called.
    pub(super) name: &'a str,
    /// The configuration.
    pub(super) file: &'a Path,
    /// The machine's table.
    pub(super) toml: String,
    /// Whether it was added just now: not with `--dry-run`, and not again.
    pub(super) added: bool,
    /// What was done, in order.
    pub(super) steps: Vec<Check>,
}

/// A machine in a line.
pub(super) fn survey(survey: &Survey, notes: Vec<String>) -> Finding {
    let mut parts = vec![
        survey.architecture.clone(),
        format!("{} {}", survey.kernel, survey.release),
        match survey.cores {
            1 => "1 core".to_owned(),
            cores => format!("{cores} cores"),
        },
    ];
    parts.extend(
        survey
            .memory
            .map(|bytes| format!("{} memory", quantity::size(bytes))),
    );
    parts.extend(
        survey
            .state
            .free
            .map(|bytes| format!("{} free", quantity::size(bytes))),
    );
    parts.push(
        if survey.nix.is_some() {
            "has Nix"
        } else {
            "no Nix"
        }
        .to_owned(),
    );
    let mut finding = Finding::new(parts.join(", "));
    finding.warnings = notes;
    finding
}

/// What a machine is to be in the configuration.
pub(super) fn proposal(proposal: &Proposal) -> String {
    let jobs = match proposal.max_jobs {
        1 => "1 build".to_owned(),
        count => format!("{count} builds"),
    };
    format!(
        "`{}`, {jobs} at once, for {}; features {}",
        proposal.name,
        proposal.systems.join(" "),
        match proposal.features.is_empty() {
            true => "none".to_owned(),
            false => proposal.features.join(" "),
        }
    )
}
