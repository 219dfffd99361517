//! What somebody who follows an attempt is told: that it started, its log from
//! where they were, and its end.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use musher_api::coordinator;
use musher_api::limits::CHUNK;
use musher_api::worker as api;
use musher_api::worker::attempt_event::Event;
use musher_store::local::LocalStore;
use musher_store::read_nar_file;
use nix_derivation::StoreDir;
use tokio::sync::watch;
use tonic::Status;

use super::attempt::{Attempt, Phase};
use super::build::Ended;
use super::log::AttemptLog;

/// Somebody who follows an attempt.
struct Follower {
    store: Arc<LocalStore>,
    attempt: Arc<Attempt>,
    log: AttemptLog,
    phase: watch::Receiver<Phase>,
    offset: u64,
    /// The longest NAR that is to come with the result.
    nar_ahead: u64,
    told_start: bool,
    told_end: bool,
}

/// What there is to tell of `attempt`, of whose log the first `offset` bytes
/// are known.
pub(super) fn follow(
    store: Arc<LocalStore>,
    attempt: Arc<Attempt>,
    offset: u64,
    nar_ahead: u64,
) -> impl Stream<Item = Result<api::AttemptEvent, Status>> + Send {
    let follower = Follower {
        store,
        log: attempt.log.clone(),
        phase: attempt.phase(),
        attempt,
        offset,
        nar_ahead: nar_ahead.min(CHUNK as u64),
        told_start: false,
        told_end: false,
    };
    stream::unfold(follower, async |mut follower| {
        let event = follower.next().await.transpose()?;
        let event = event.map(|event| api::AttemptEvent { event: Some(event) });
        Some((event, follower))
    })
}

impl Follower {
    async fn next(&mut self) -> Result<Option<Event>, Status> {
        if self.told_end {
            return Ok(None);
        }
        loop {
            if let Some(started) = self.started() {
                return Ok(Some(started));
            }
            tokio::select! {
                biased;
                bytes = self.log.read(self.offset) => {
                    let bytes = bytes.map_err(|error| {
                        Status::internal(format!("cannot read the log: {error}"))
                    })?;
                    return match bytes {
                        Some(bytes) => Ok(Some(self.log_event(bytes))),
                        None => self.end().await.map(Some),
                    };
                }
                changed = self.phase.changed(), if !self.told_start => {
                    if changed.is_err() {
                        return Err(gone());
                    }
                }
            }
        }
    }

    fn started(&mut self) -> Option<Event> {
        if self.told_start {
            return None;
        }
        let age = match &*self.phase.borrow_and_update() {
            Phase::Running { since } => since.elapsed(),
            // A short build may be over before anybody looked.
            Phase::Ended { ended, .. } if ended.usage.is_some() => self.attempt.begun.elapsed(),
            Phase::Waiting { .. } | Phase::Missing(_) | Phase::Ended { .. } => return None,
        };
        self.told_start = true;
        Some(Event::Started(api::Started {
            age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
        }))
    }

    fn log_event(&mut self, bytes: Bytes) -> Event {
        let offset = self.offset;
        self.offset += bytes.len() as u64;
        Event::Log(api::Log { offset, bytes })
    }

    /// The log is complete; what came of it follows at once.
    async fn end(&mut self) -> Result<Event, Status> {
        let is_over = |phase: &Phase| match phase {
            Phase::Waiting { .. } | Phase::Running { .. } => false,
            Phase::Missing(_) | Phase::Ended { .. } => true,
        };
        let phase = self.phase.wait_for(is_over).await;
        let phase = phase.map_err(|_| gone())?.clone();
        self.told_end = true;
        let dir = self.store.store_dir();
        Ok(match phase {
            Phase::Missing(paths) => Event::Missing(api::MissingInputs {
                paths: paths.iter().map(|path| dir.render_path(path)).collect(),
            }),
            Phase::Ended { ended, .. } => {
                let nar = self.nar(&ended).await;
                Event::Ended(ended_message(dir, &ended, nar))
            }
            Phase::Waiting { .. } | Phase::Running { .. } => unreachable!("bug: it is over"),
        })
    }

    /// The NAR of the only output, if it is short enough to go along.
    async fn nar(&self, ended: &Ended) -> Bytes {
        let mut outputs = ended.outputs.values();
        let (Some(info), None) = (outputs.next(), outputs.next()) else {
            return Bytes::new();
        };
        if info.nar_size > self.nar_ahead {
            return Bytes::new();
        }
        let mut chunks = read_nar_file(self.store.real_path(&info.path));
        let mut nar = Vec::with_capacity(usize::try_from(info.nar_size).unwrap_or_default());
        while let Some(chunk) = chunks.next().await {
            match chunk {
                Ok(chunk) if nar.len() + chunk.len() <= CHUNK => nar.extend_from_slice(&chunk),
                // It is asked for apart then, and the error with it.
                Ok(_) | Err(_) => return Bytes::new(),
            }
        }
        nar.into()
    }
}

fn gone() -> Status {
    Status::aborted("the attempt was let go")
}

fn ended_message(dir: &StoreDir, ended: &Ended, nar: Bytes) -> api::Ended {
    api::Ended {
        result: Some(coordinator::Ended::from_value(
            dir,
            "",
            &ended.result,
            &ended.outputs,
        )),
        usage: ended.usage.clone(),
        fault: ended.fault.into(),
        fault_text: ended.fault_text.clone(),
        nar,
        kept_dir: (ended.kept.as_ref())
            .map(|dir| dir.display().to_string())
            .unwrap_or_default(),
    }
}
