//! The worker on a machine, started for the first time and tried out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use musher_api::worker as api;
use musher_coordinator::enrol::{ContentHash, worker_command};
use musher_coordinator::worker::{Session, SessionOptions, Way};
use musher_store::StoreError;
use musher_store::ssh::Link;
use tokio::time::timeout;

use super::super::story::Story;
use super::super::test::{BuildError, Peer, Trivial, built_in};
use crate::check::{Finding, advice};
use crate::failure::Failure;

/// How long the worker may take to start.
const PATIENCE: Duration = Duration::from_secs(40);

/// How long the build may take.
const BOUND: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
enum WorkerError {
    #[error("the worker there does not answer")]
    NoAnswer { source: StoreError },
    #[error("builds cannot be sandboxed there: {}", .texts.join("; "))]
    NoSandbox { texts: Vec<String> },
    #[error("a build that does next to nothing came to nothing")]
    Build { source: BuildError },
    #[error("a build that does next to nothing did not end within {} s", BOUND.as_secs())]
    OutOfTime,
}

/// Starts the worker, hears what it has, and has a little built for `system`,
/// which sees `sandbox_paths`.
pub(super) async fn try_worker(
    story: &mut Story,
    link: Link,
    hash: &ContentHash,
    system: &str,
    sandbox_paths: &[String],
) -> Result<(), Failure> {
    let command = worker_command(Some(hash));
    let way = Arc::new(Way::Ssh { link, command });
    let session = Session::open(way, SessionOptions::visitor(PATIENCE)).await;
    let session = session.map_err(|source| {
        let help = source.help();
        Failure::environment(WorkerError::NoAnswer { source }).help(help)
    })?;
    let capabilities = session.hello().capabilities.clone().unwrap_or_default();
    let found = capabilities.findings.into_iter();
    let (fatal, notes): (Vec<_>, Vec<_>) = found.partition(|finding| finding.fatal);
    if !fatal.is_empty() {
        return Err(no_sandbox(&fatal));
    }
    let mut finding = Finding::new(match capabilities.sandboxed {
        true => "answers, and can sandbox builds",
        false => "answers",
    });
    finding.warnings = notes.iter().map(advice).collect();
    story.tell("worker", finding)?;

    let begun = Instant::now();
    let peer = Peer::Musher(Arc::new(session));
    let built = async {
        let derivation = Trivial::new(peer.store().store_dir(), system)?;
        derivation.build(&peer, None, sandbox_paths).await
    };
    let built = timeout(BOUND, built).await;
    let built = built.map_err(|_| Failure::environment(WorkerError::OutOfTime))?;
    let sandboxed = built.map_err(|source| {
        let help = source.help();
        Failure::environment(WorkerError::Build { source }).help(help)
    })?;
    story.tell("test build", built_in(system, begun.elapsed(), sandboxed))
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
    Failure::environment(WorkerError::NoSandbox { texts }).help(help)
}
