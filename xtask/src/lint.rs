//! `cargo xtask lint`: the rules of the workspace that no compiler holds. Finds
//! what breaks them; what the rules are stands in `graph` and `sources`.

mod graph;
mod sources;

use anyhow::{Result, bail};
use clap::Args;

use crate::{cargo, ui};

/// Check the rules that crates and source files keep
#[derive(Args)]
pub(crate) struct LintArgs {}

/// Prints every breach; fails if there is one.
pub(crate) fn run(_: &LintArgs) -> Result<()> {
    let metadata = cargo::metadata()?;
    let mut breaches = graph::check(&metadata);
    breaches.extend(sources::check(&metadata.workspace_root)?);
    for breach in &breaches {
        ui::say(breach);
    }
    match breaches.len() {
        0 => Ok(()),
        count => bail!("{count} breaches of the workspace's rules"),
    }
}
