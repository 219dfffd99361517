//! What the worker does now, in words for people.

use std::time::SystemTime;

use musher_api::worker as api;

use super::Shared;
use super::attempt::Phase;

/// What `shared` does now.
pub(super) fn status(shared: &Shared) -> api::StatusReply {
    let dir = shared.store_dir();
    let attempts = shared.attempts.all();
    let attempts = attempts.into_iter().map(|(lease, attempt)| {
        let state = match &*attempt.phase().borrow() {
            Phase::Waiting { .. } => "waiting",
            Phase::Running { .. } => "running",
            Phase::Missing(_) | Phase::Ended { .. } => "ended",
        };
        let age = attempt.begun.elapsed().as_millis();
        api::AttemptStatus {
            lease: lease.number,
            drv_path: dir.render_path(&attempt.drv_path),
            state: state.to_owned(),
            age_ms: u64::try_from(age).unwrap_or(u64::MAX),
            log_bytes: attempt.log.length(),
        }
    });
    let started = (shared.started).duration_since(SystemTime::UNIX_EPOCH);
    api::StatusReply {
        attempts: attempts.collect(),
        started: started.unwrap_or_default().as_secs(),
        coordinators: u32::try_from(shared.owners.present()).unwrap_or(u32::MAX),
        beat: Some(shared.beat(0)),
    }
}
