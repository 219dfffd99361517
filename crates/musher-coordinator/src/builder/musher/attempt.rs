//! One attempt on a worker: its inputs, the order, the log, and the result;
//! found again where the connection broke on the way.

use std::collections::BTreeSet;
use std::sync::Arc;

use musher_api::coordinator;
use musher_api::limits::CHUNK;
use musher_api::worker as api;
use musher_api::worker::attempt_event::Event;
use musher_protocol::types::{BuildMode, PathInfo};
use musher_store::{Store as _, StoreError, Substitute};
use nix_derivation::{StoreDir, StorePath};
use tonic::{Code, Status, Streaming};
use tracing::debug;

use super::{MusherBuilder, result};
use crate::attempt::{LogSink, Order};
use crate::build::Limits;
use crate::builder::{Fault, Outcome};
use crate::worker::{Session, is_lost};

const ATTEMPT: &str = "build";

pub(super) async fn attempt(
    builder: &MusherBuilder,
    order: &Order,
    log: &mut LogSink,
) -> Result<Outcome, Fault> {
    let interest = builder.interests.want(order.lease.0);
    let unknown = order.unknown();
    let mut follower = Follower {
        builder,
        order,
        unknown: &unknown,
        mode: mode_there(builder, order).await?,
        offset: 0,
        log,
    };
    let ended = if unknown.is_empty() {
        follower.follow(None).await?
    } else {
        follower.supply().await?
    };
    result::outcome(order, ended, interest)
}

/// Follows an attempt through however many connections.
struct Follower<'a> {
    builder: &'a MusherBuilder,
    order: &'a Order,
    /// The inputs that were offered.
    unknown: &'a BTreeSet<StorePath>,
    mode: BuildMode,
    /// Bytes of the log that came so far.
    offset: u64,
    log: &'a mut LogSink,
}

/// How one connection's part of an attempt ended.
enum Part {
    /// With the attempt.
    Ended(Box<api::Ended>),
    /// With the connection.
    Broken(Status),
}

impl Follower<'_> {
    /// Sends the inputs that the worker lacks, and the order right behind them.
    async fn supply(&mut self) -> Result<api::Ended, Fault> {
        let session = self.builder.session(None).await?;
        let infos: Vec<PathInfo> = (self.order.closure.0.iter())
            .filter(|info| self.unknown.contains(&info.path))
            .cloned()
            .collect();
        let gift = session
            .give(self.order.lease.0, &infos, &self.order.sources)
            .await?;
        let (taken, ended) = tokio::join!(gift.taken(), self.follow(Some(session.clone())));
        match (taken, ended) {
            (_, Ok(ended)) => Ok(ended),
            // Inputs that are missing because they were not taken.
            (Err(error), Err(_)) => Err(error.into()),
            (Ok(()), Err(fault)) => Err(fault),
        }
    }

    /// Gives the order and follows the attempt to its end. `first` is the
    /// session on which inputs were sent.
    async fn follow(&mut self, first: Option<Arc<Session>>) -> Result<api::Ended, Fault> {
        let mut session = match first {
            Some(session) => session,
            None => self.builder.session(None).await?,
        };
        loop {
            let status = match session.control().attempt(self.request(&session)).await {
                Ok(events) => match self.events(events.into_inner(), &session).await? {
                    Part::Ended(ended) => return Ok(*ended),
                    Part::Broken(status) => status,
                },
                Err(status) => status,
            };
            let lease = self.order.lease.0;
            debug!(lease, %status, "the connection broke during an attempt");
            if !is_lost(&status) {
                return Err(refusal(&session, &status).await);
            }
            session = self.builder.session(Some(&session)).await?;
        }
    }

    fn request(&self, session: &Session) -> api::AttemptRequest {
        // Where nothing of the log came, it makes no difference whether a new
        // worker has to begin once more. Otherwise the log could not go on.
        let order = (self.offset == 0).then(|| order(self.order, self.mode, self.builder, session));
        let ahead = session.speaks(musher_api::Versions::NAR_AHEAD) && self.order.spec.nar_ahead;
        api::AttemptRequest {
            lease: self.order.lease.0,
            order,
            log_offset: self.offset,
            nar_ahead: if ahead { CHUNK as u64 } else { 0 },
            slots: self.order.slots,
        }
    }

    async fn events(
        &mut self,
        mut events: Streaming<api::AttemptEvent>,
        session: &Session,
    ) -> Result<Part, Fault> {
        loop {
            let event = match events.message().await {
                Ok(Some(event)) => event.event,
                Ok(None) => return Ok(Part::Broken(Status::unavailable("it hung up"))),
                Err(status) => return Ok(Part::Broken(status)),
            };
            match event {
                Some(Event::Started(_)) => self.log.build_starts(),
                Some(Event::Log(api::Log { offset, bytes })) => {
                    if offset != self.offset {
                        let text = "a piece of the log that does not follow the last";
                        return Err(Fault::Nonsense(text.to_owned()));
                    }
                    self.offset += bytes.len() as u64;
                    self.log.raw(&bytes)?;
                }
                Some(Event::Ended(ended)) => return Ok(Part::Ended(Box::new(ended))),
                Some(Event::Missing(missing)) => return Err(self.missing(&missing, session)?),
                // Of a version to come; it changes nothing of what is known.
                None => {}
            }
        }
    }

    /// What to make of inputs that are not there.
    fn missing(&self, missing: &api::MissingInputs, session: &Session) -> Result<Fault, Fault> {
        let paths = missing.paths.iter().map(|path| session.parse(path));
        let lost = paths.collect::<Result<Vec<_>, StoreError>>()?;
        // To try again because of these could go on for ever.
        if let Some(path) = lost.iter().find(|path| self.unknown.contains(*path)) {
            let text = format!("it had input `{path}`, and a moment later it had not");
            return Err(Fault::Nonsense(text));
        }
        match lost.is_empty() {
            true => Err(Fault::Nonsense("it lacks no input at all".to_owned())),
            false => Ok(Fault::LostInputs(lost)),
        }
    }
}

/// In which mode the worker is to build. What is to be checked and is not there is
/// built as if it were new: whoever asked holds it against what they have.
async fn mode_there(builder: &MusherBuilder, order: &Order) -> Result<BuildMode, Fault> {
    let spec = &order.spec;
    if spec.mode != BuildMode::Check {
        return Ok(spec.mode);
    }
    let paths = spec.derivation.outputs.values();
    let paths: BTreeSet<_> = paths.filter_map(|output| output.path.clone()).collect();
    let session = builder.session(None).await?;
    let valid = session.valid_paths(&paths, Substitute::No).await?;
    Ok(match !paths.is_empty() && valid == paths {
        true => BuildMode::Check,
        false => BuildMode::Normal,
    })
}

async fn refusal(session: &Session, status: &Status) -> Fault {
    if status.code() == Code::NotFound {
        // The worker there is another than the one that had the attempt.
        return Fault::Machine {
            what: "its worker was lost",
            text: "another has taken its place".to_owned(),
        };
    }
    Fault::Store(session.failure(ATTEMPT, status).await)
}

fn order(order: &Order, mode: BuildMode, builder: &MusherBuilder, session: &Session) -> api::Order {
    let (spec, dir): (_, &StoreDir) = (&order.spec, session.store_dir());
    let Limits {
        max_silent,
        timeout,
        max_log,
    } = spec.limits;
    let seconds = |limit: Option<std::time::Duration>| limit.map_or(0, |limit| limit.as_secs());
    api::Order {
        drv_path: dir.render_path(&spec.drv_path),
        derivation: Some(coordinator::Derivation::from_value(dir, &spec.derivation)),
        mode: coordinator::BuildMode::from(mode).into(),
        limits: Some(coordinator::Limits {
            max_silent_seconds: seconds(max_silent),
            timeout_seconds: seconds(timeout),
            max_log_bytes: max_log.unwrap_or_default(),
        }),
        cores: 0,
        sandbox_paths: builder.settings.sandbox_paths.clone(),
        keep_failed: spec.keep_failed,
    }
}
