//! What the history tells a person: of one package, or of all in short; and a
//! request's graph for other programs. From the coordinator, or from the file
//! where none runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use musher_api::coordinator as api;
use musher_scheduler::{
    BuildKind, Confidence, Estimate, Estimator, MachineSpec, Subject, package_name,
};
use nix_derivation::StorePath;

use super::database::{Database, OpenError, PastRequest, Selection};
use super::past::{millis, plain_name};
use super::{History, PastAttempt};

/// Attempts told where nobody says how many.
const USUAL: u32 = 20;
/// Attempts told at most.
const MOST: u32 = 10_000;
/// What is learnt at once.
const LESSON: usize = 1000;

/// Why the history says nothing.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// There is none.
    #[error("there is no history: no coordinator has kept one in `{}`", .path.display())]
    Nothing {
        /// Where it would be.
        path: PathBuf,
    },
    /// A newer Musher made it.
    #[error("the history in `{}` is of version {found}, newer than this program", .path.display())]
    Newer {
        /// Where it is.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// SQLite says no.
    #[error("cannot read the history in `{}`", .path.display())]
    Unreadable {
        /// Where it is.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// No such graph is kept.
    #[error("the history holds no graph of {}", match .request {
        Some(id) => format!("a request {id}"),
        None => "any request".to_owned(),
    })]
    NoRequest {
        /// Which was asked for.
        request: Option<u64>,
    },
}

impl HistoryError {
    /// Whether what was asked for is not there, and nothing is wrong.
    pub fn is_absence(&self) -> bool {
        match self {
            Self::Nothing { .. } | Self::NoRequest { .. } => true,
            Self::Newer { .. } | Self::Unreadable { .. } => false,
        }
    }

    /// Advice the user can act on, if there is any.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Nothing { .. } => {
                Some("name the coordinator's directory of what is kept by `--state`".to_owned())
            }
            Self::NoRequest { .. } => {
                Some("`musher history` lists those whose graphs are kept".to_owned())
            }
            Self::Newer { .. } | Self::Unreadable { .. } => None,
        }
    }
}

/// What the database says to a request.
pub(crate) struct Found {
    selection: Option<Selection>,
    attempts: Vec<PastAttempt>,
    requests: Vec<PastRequest>,
}

/// What a coordinator's history says to `request`; none if it cannot be read.
pub(crate) async fn answer(
    history: &History,
    request: api::HistoryRequest,
) -> Option<api::HistoryReply> {
    let found = history
        .ask(move |database| find(database, &request))
        .await?;
    Some(reply(&found, &history.estimator()))
}

/// The same from the file below the directory `state`, where the fleet is
/// `machines`.
pub fn read(
    state: &Path,
    machines: &[MachineSpec],
    request: &api::HistoryRequest,
) -> Result<api::HistoryReply, HistoryError> {
    let (path, database) = open(state)?;
    let mut estimator = Estimator::default();
    for spec in machines {
        estimator.configure(&spec.id, spec.speed_factor);
    }
    let learn = |lessons: &[_]| {
        for lesson in lessons {
            estimator.learn(lesson);
        }
    };
    let found = database.lessons(LESSON, learn);
    let found = found.and_then(|_| find(&database, request));
    let found = found.map_err(|source| HistoryError::Unreadable { path, source })?;
    Ok(reply(&found, &estimator))
}

/// The graph of a request, or of the newest, from the file below the directory
/// `state`, and how many builds are in it.
pub fn export(
    state: &Path,
    request: Option<u64>,
) -> Result<(serde_json::Value, usize), HistoryError> {
    let (path, database) = open(state)?;
    let graph = database.graph(request);
    let graph = graph.map_err(|source| HistoryError::Unreadable { path, source })?;
    let graph = graph.ok_or(HistoryError::NoRequest { request })?;
    Ok((graph.to_json(), graph.nodes.len()))
}

fn open(state: &Path) -> Result<(PathBuf, Database), HistoryError> {
    let path = History::path(state);
    if !path.exists() {
        return Err(HistoryError::Nothing { path });
    }
    match Database::open_to_read(&path) {
        Ok(database) => Ok((path, database)),
        Err(OpenError::Newer { found }) => Err(HistoryError::Newer { path, found }),
        Err(OpenError::Database(source)) => Err(HistoryError::Unreadable { path, source }),
    }
}

fn find(database: &Database, request: &api::HistoryRequest) -> rusqlite::Result<Found> {
    let most = match request.most {
        0 => USUAL,
        most => most.min(MOST),
    };
    let selection = selection(&request.name);
    let (attempts, requests) = match &selection {
        Some(selection) => (database.past(selection, most)?, Vec::new()),
        None => (database.longest(most)?, database.requests()?),
    };
    Ok(Found {
        selection,
        attempts,
        requests,
    })
}

/// What a name stands for: a derivation's path, or a package; none for nothing.
fn selection(name: &str) -> Option<Selection> {
    let base = name.rsplit('/').next().unwrap_or(name);
    let is_path = StorePath::from_basename(base.as_bytes()).is_ok_and(|path| path.is_derivation());
    let selection = match is_path {
        true => Selection::Derivation(base.to_owned()),
        false => Selection::Named(name.strip_suffix(".drv").unwrap_or(name).to_owned()),
    };
    (!name.is_empty()).then_some(selection)
}

fn reply(found: &Found, estimator: &Estimator) -> api::HistoryReply {
    api::HistoryReply {
        attempts: found.attempts.iter().map(attempt).collect(),
        estimates: match &found.selection {
            Some(selection) => estimates(selection, &found.attempts, estimator),
            None => Vec::new(),
        },
        speeds: (estimator.speeds())
            .map(|(machine, factor, comparisons)| api::MachineSpeed {
                machine: machine.to_string(),
                factor: factor.value(),
                comparisons: u32::try_from(comparisons).unwrap_or(u32::MAX),
            })
            .collect(),
        requests: found.requests.iter().map(request).collect(),
    }
}

/// What is expected of the selection, for each system that it was built for.
fn estimates(
    selection: &Selection,
    attempts: &[PastAttempt],
    estimator: &Estimator,
) -> Vec<api::BuildEstimate> {
    let mut kinds: BTreeMap<&str, BuildKind> = BTreeMap::new();
    for attempt in attempts {
        // The newest comes first.
        kinds.entry(&attempt.system).or_insert(attempt.kind);
    }
    let drv = match selection {
        Selection::Derivation(drv) => StorePath::from_basename(drv.as_bytes()).ok(),
        Selection::Named(_) => None,
    };
    let name = match (&drv, selection) {
        (Some(drv), _) => plain_name(drv),
        (None, Selection::Named(name) | Selection::Derivation(name)) => name,
    };
    let expected = |(system, kind)| {
        let subject = Subject {
            name,
            drv: drv.as_ref(),
            system,
            kind,
        };
        estimate(&estimator.estimate(&subject), system)
    };
    kinds.into_iter().map(expected).collect()
}

/// What a build for `system` is expected to cost.
pub(crate) fn estimate(estimate: &Estimate, system: &str) -> api::BuildEstimate {
    api::BuildEstimate {
        system: system.to_owned(),
        seconds: estimate.seconds,
        confidence: match estimate.confidence {
            Confidence::Guess => "guess",
            Confidence::Similar => "similar",
            Confidence::Known => "known",
        }
        .to_owned(),
        peak_memory_bytes: estimate.peak_memory,
        output_bytes: estimate.output_bytes,
    }
}

fn attempt(attempt: &PastAttempt) -> api::PastAttempt {
    let name = plain_name(&attempt.drv);
    api::PastAttempt {
        drv: attempt.drv.to_basename(),
        name: name.to_owned(),
        package: package_name(name).to_owned(),
        system: attempt.system.clone(),
        machine: attempt.machine.to_string(),
        outcome: attempt.outcome.as_str().to_owned(),
        started: attempt.started / 1000,
        wall_ms: millis(attempt.wall),
        took_ms: millis(attempt.took),
        cpu_ms: attempt.cpu.map(millis),
        peak_memory_bytes: attempt.peak_memory,
        sent_bytes: attempt.sent,
        output_bytes: attempt.output_bytes,
    }
}

fn request(request: &PastRequest) -> api::PastRequest {
    api::PastRequest {
        id: request.id,
        root: request.root.clone(),
        ended: request.ended / 1000,
        builds: request.builds,
    }
}
