//! Paths that are in their places and locked, until enough of them can be
//! registered in one transaction, or until it is time: whoever else wants one of
//! them waits, and the next one may be slow to come, or never do.

use std::collections::BTreeSet;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use musher_protocol::types::PathInfo;
use nix_derivation::StorePath;

use super::super::LocalError;
use super::super::output_locks::OutputLocks;
use super::super::registrar::Registrar;

/// How long a path waits for others to be registered along with it, at most.
const BATCH_TIME: Duration = Duration::from_millis(500);

/// Paths to be registered. Dropped, they are garbage.
pub(super) struct Batch {
    shared: Arc<Shared>,
    /// How many are registered at once, at most.
    most: usize,
    /// Sees to it that it is done in time.
    timer: Option<JoinHandle<()>>,
}

struct Shared {
    registrar: Arc<Registrar>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    infos: Vec<PathInfo>,
    /// Those of `infos`.
    paths: BTreeSet<StorePath>,
    locks: OutputLocks,
    /// When the first of `infos` came.
    since: Option<Instant>,
    /// What the timer could not do.
    failed: Option<LocalError>,
    ended: bool,
}

impl Batch {
    pub(super) fn new(registrar: &Arc<Registrar>, most: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                registrar: Arc::clone(registrar),
                state: Mutex::default(),
                changed: Condvar::new(),
            }),
            most,
            timer: None,
        }
    }

    /// Whether `path` is in its place, and not registered. An error if others
    /// that were could not be.
    pub(super) fn contains(&self, path: &StorePath) -> Result<bool, LocalError> {
        let mut state = self.shared.state();
        match state.failed.take() {
            Some(error) => Err(error),
            None => Ok(state.paths.contains(path)),
        }
    }

    /// Adds a path that is in its place, and its lock.
    pub(super) fn push(&mut self, info: PathInfo, lock: OutputLocks) -> Result<(), LocalError> {
        let mut state = self.shared.state();
        state.paths.insert(info.path.clone());
        state.infos.push(info);
        state.locks.join(lock);
        state.since.get_or_insert_with(Instant::now);
        let is_full = state.infos.len() >= self.most;
        drop(state);
        if is_full || !self.is_timed() {
            return self.register();
        }
        self.shared.changed.notify_one();
        Ok(())
    }

    /// Registers what there is.
    pub(super) fn register(&mut self) -> Result<(), LocalError> {
        let mut state = self.shared.state();
        match state.failed.take() {
            Some(error) => Err(error),
            None => self.shared.register(&mut state),
        }
    }

    /// Whether there is a timer, which is made if it can be.
    fn is_timed(&mut self) -> bool {
        if self.timer.is_none() {
            let shared = Arc::clone(&self.shared);
            let timer = thread::Builder::new().name("register".to_owned());
            self.timer = timer.spawn(move || shared.register_in_time()).ok();
        }
        self.timer.is_some()
    }
}

impl Shared {
    fn register(&self, state: &mut State) -> Result<(), LocalError> {
        let infos = mem::take(&mut state.infos);
        let registered = match infos.is_empty() {
            true => Ok(()),
            false => self.registrar.register(&infos),
        };
        state.since = None;
        state.paths.clear();
        state.locks = OutputLocks::default();
        registered
    }

    /// Registers what is due, until the end.
    fn register_in_time(&self) {
        let mut state = self.state();
        while !state.ended {
            let Some(since) = state.since else {
                let woken = self.changed.wait(state);
                state = woken.unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = BATCH_TIME.saturating_sub(since.elapsed());
            if left.is_zero() {
                if let Err(error) = self.register(&mut state) {
                    state.failed = Some(error);
                }
            } else {
                let woken = self.changed.wait_timeout(state, left);
                state = woken.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.shared.state().ended = true;
        self.shared.changed.notify_one();
        if let Some(timer) = self.timer.take() {
            // One that panicked said so.
            let _ = timer.join();
        }
    }
}
