//! The worker on a machine, started for the first time and tried out.

use std::time::Duration;

use musher_api::worker as api;
use musher_coordinator::enrol::{ContentHash, Trial, TrialError};
use musher_store::ssh::Link;

use super::super::story::Story;
use crate::check::{Finding, advice};
use crate::failure::Failure;
use crate::ui::quantity;

/// How long the worker may take to start.
const PATIENCE: Duration = Duration::from_secs(40);

#[derive(Debug, thiserror::Error)]
#[error("builds cannot be sandboxed there: {}", .texts.join("; "))]
struct NoSandbox {
    texts: Vec<String>,
}

/// Starts the worker, hears what it has, and has a little built for `system`.
pub(super) async fn try_worker(
    story: &mut Story,
    link: Link,
    hash: &ContentHash,
    system: &str,
    sandbox_paths: Vec<String>,
) -> Result<(), Failure> {
    let trial = Trial::open(link, hash, PATIENCE).await.map_err(failure)?;
    let found = trial.capabilities().findings;
    let (fatal, notes): (Vec<_>, Vec<_>) = found.into_iter().partition(|finding| finding.fatal);
    if !fatal.is_empty() {
        return Err(no_sandbox(&fatal));
    }
    let mut finding = Finding::new(match trial.capabilities().sandboxed {
        true => "answers, and can sandbox builds",
        false => "answers",
    });
    finding.warnings = notes.iter().map(advice).collect();
    story.tell("worker", finding)?;
    let tried = trial.build(system, sandbox_paths).await.map_err(failure)?;
    let time = quantity::duration(tried.time);
    let mut finding = Finding::new(format!("for `{system}` in {time}"));
    if !tried.sandboxed {
        finding = finding.warn("it was not sandboxed".to_owned());
    }
    story.tell("test build", finding)
}

fn no_sandbox(findings: &[api::Finding]) -> Failure {
    let texts = findings
        .iter()
        .map(|finding| finding.text.clone())
        .collect();
    let help: Vec<&str> = findings
        .iter()
        .map(|finding| finding.help.as_str())
        .filter(|help| !help.is_empty())
        .collect();
    let all = format!(
        "{}\n`--no-sandbox` adds it all the same: builds then see the machine, and each other",
        help.join("\n")
    );
    let help = all.trim_start().to_owned();
    Failure::environment(NoSandbox { texts }).help(help)
}

fn failure(error: TrialError) -> Failure {
    let help = error.help();
    Failure::environment(error).help(help)
}
