//! Who writes the history down: aside, several things at a time, so that
//! nothing waits for a disk.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use musher_scheduler::Estimator;
use rusqlite::ErrorCode;
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use super::database::{Database, OpenError};
use super::{PastAttempt, RequestGraph};

/// What is written in one transaction at most.
const BATCH: usize = 512;
/// What is learnt at once; in between others may ask the estimator.
const LESSON: usize = 1000;

/// Something for the keeper to do.
pub(super) enum Job {
    /// Write down an attempt.
    Attempt(Box<PastAttempt>),
    /// Write down a graph.
    Graph(Box<RequestGraph>),
    /// Ask the database something, if there is one.
    Ask(Question),
}

type Question = Box<dyn FnOnce(Option<&Database>) -> rusqlite::Result<()> + Send>;

/// Opens the history at `path`, has `estimator` learn from it, and then does
/// what it is told until nobody is left who could tell it anything.
pub(super) async fn keep(
    path: PathBuf,
    estimator: Arc<Mutex<Estimator>>,
    mut jobs: mpsc::Receiver<Job>,
) {
    let opened = tokio::task::spawn_blocking(move || {
        let mut keeper = Keeper::open(path);
        keeper.teach(&estimator);
        keeper
    });
    let Ok(mut keeper) = opened.await else {
        return;
    };
    loop {
        let mut batch = Vec::new();
        if jobs.recv_many(&mut batch, BATCH).await == 0 {
            return;
        }
        let worked = tokio::task::spawn_blocking(move || {
            keeper.work(batch);
            keeper
        });
        let Ok(back) = worked.await else {
            return;
        };
        keeper = back;
    }
}

/// The database, if it can be used.
pub(super) struct Keeper {
    path: PathBuf,
    database: Option<Database>,
    /// Whether it was said that something is wrong.
    has_complained: bool,
}

impl Keeper {
    pub(super) fn open(path: PathBuf) -> Self {
        let mut keeper = Self {
            path,
            database: None,
            has_complained: false,
        };
        match Database::open(&keeper.path) {
            Ok(database) => keeper.database = Some(database),
            Err(OpenError::Newer { found }) => {
                let path = keeper.path.display();
                warn!(%path, found, "the history is of a newer version, and left as it is");
            }
            Err(OpenError::Database(error)) => keeper.trouble("opened", &error),
        }
        keeper
    }

    /// Has `estimator` learn from all that was kept.
    pub(super) fn teach(&mut self, estimator: &Mutex<Estimator>) {
        let Some(database) = &self.database else {
            return;
        };
        let taught = database.lessons(LESSON, |lessons| {
            let mut estimator = estimator.lock().unwrap_or_else(PoisonError::into_inner);
            for lesson in lessons {
                estimator.learn(lesson);
            }
        });
        match taught {
            Ok(count) => debug!(count, "history read"),
            Err(error) => self.trouble("read", &error),
        }
    }

    pub(super) fn work(&mut self, batch: Vec<Job>) {
        let mut attempts = Vec::new();
        for job in batch {
            match job {
                Job::Attempt(attempt) => attempts.push(*attempt),
                Job::Graph(graph) => {
                    self.write(&std::mem::take(&mut attempts));
                    self.attempt("write", |database| database.add_graph(&graph));
                }
                Job::Ask(question) => {
                    // Who asks wants to hear of what came before.
                    self.write(&std::mem::take(&mut attempts));
                    if let Err(error) = question(self.database.as_ref()) {
                        self.trouble("read", &error);
                    }
                }
            }
        }
        self.write(&attempts);
    }

    fn write(&mut self, attempts: &[PastAttempt]) {
        if !attempts.is_empty() {
            self.attempt("write", |database| database.add_attempts(attempts));
        }
    }

    fn attempt(
        &mut self,
        what: &'static str,
        work: impl FnOnce(&mut Database) -> rusqlite::Result<()>,
    ) {
        let Some(database) = &mut self.database else {
            return;
        };
        match work(database) {
            Ok(()) if self.has_complained => {
                self.has_complained = false;
                info!(path = %self.path.display(), "the history is kept again");
            }
            Ok(()) => {}
            Err(error) => self.trouble(what, &error),
        }
    }

    /// Something is wrong. That is said once; a damaged file is set aside, and
    /// another begun.
    fn trouble(&mut self, what: &'static str, error: &rusqlite::Error) {
        if !self.has_complained {
            self.has_complained = true;
            warn!(path = %self.path.display(), what, %error, "the history cannot be used");
        }
        if !is_damage(error) {
            return;
        }
        // It must be closed before it is moved.
        self.database = None;
        match set_aside(&self.path) {
            Ok(aside) => warn!(aside = %aside.display(), "the damaged history is set aside"),
            Err(error) => {
                warn!(%error, "the damaged history cannot be set aside");
                return;
            }
        }
        self.database = Database::open(&self.path).ok();
    }
}

/// Moves the file at `path`, and takes away what belongs to it.
fn set_aside(path: &Path) -> std::io::Result<PathBuf> {
    let with = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let aside = with(".damaged");
    std::fs::rename(path, &aside)?;
    for log in [with("-wal"), with("-shm")] {
        // There need not be one.
        let _ = std::fs::remove_file(log);
    }
    Ok(aside)
}

/// Whether the file itself is no good; otherwise it may be better another time.
fn is_damage(error: &rusqlite::Error) -> bool {
    let Some(code) = error.sqlite_error_code() else {
        // A value of another type than it must have.
        return true;
    };
    !matches!(
        code,
        ErrorCode::CannotOpen
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::DiskFull
            | ErrorCode::OutOfMemory
            | ErrorCode::OperationInterrupted
            | ErrorCode::PermissionDenied
            | ErrorCode::ReadOnly
            | ErrorCode::SystemIoFailure
            | ErrorCode::FileLockingProtocolFailed
    )
}
