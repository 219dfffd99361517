//! `Build`: follows a build and sends what happens, at the caller's pace.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::{Stream, stream};
use musher_api::coordinator as api;
use musher_api::coordinator::build_event::Event;
use musher_protocol::types::BuildMode;
use nix_derivation::StoreDir;
use tokio::sync::watch;
use tonic::Status;
use tracing::debug;

use super::explained::waiting_for;
use super::{Service, gone};
use crate::build::{Attempt, BuildSpec, Exit, Limits, Measured, Progress, Stage};
use crate::core::{Command, CoreHandle, Gone};
use crate::held_inputs::HeldInputs;
use crate::request::{Asking, ClientProcess};

/// Starts or joins the build that `request` asks for.
pub(super) async fn build(
    service: &Service,
    request: api::BuildRequest,
) -> Result<impl Stream<Item = Result<api::BuildEvent, Status>> + Send + use<>, Status> {
    let spec = parse(service, &request)?;
    debug!(
        request = request.request_id,
        drv = request.drv_path,
        "build asked for"
    );
    let met = request.client.filter(|_| spec.mode == BuildMode::Normal);
    let met = met.and_then(|client| {
        let process = ClientProcess::of(&client);
        (service.foresight.as_ref()?).meets(process, client.temp_roots, &spec)
    });
    let (asking, ahead, unread) = match met {
        Some(met) => (Some(met.asking), met.progress, met.unread),
        None => (None, None, None),
    };
    let mut order = Order {
        core: service.core.clone(),
        spec,
        asking,
    };
    let progress = order.place(ahead).await?;
    let mut follower = Follower::new(service.store_dir.clone(), progress);
    follower.order = Some(order);
    (follower.queue).extend(unread.map(|from| Event::Unread(api::Unread { from })));
    follower.log = LogPosition {
        attempt: request.log_attempt,
        offset: request.log_offset,
    };
    Ok(stream::unfold(follower, async |mut follower| {
        let event = follower.next().await.transpose()?;
        Some((event, follower))
    }))
}

fn parse(service: &Service, request: &api::BuildRequest) -> Result<BuildSpec, Status> {
    let drv_path = service.store_dir.parse_path(request.drv_path.as_bytes());
    let drv_path = drv_path.map_err(|error| {
        Status::invalid_argument(format!("bad `drv_path` `{}`: {error}", request.drv_path))
    })?;
    let derivation = request.derivation.as_ref();
    let derivation = derivation.ok_or_else(|| Status::invalid_argument("no `derivation`"))?;
    let derivation = derivation.to_value(&service.store_dir);
    let derivation = derivation.map_err(|error| Status::invalid_argument(error.to_string()))?;
    let asked = limits(request.limits.unwrap_or_default());
    Ok(BuildSpec {
        drv_path,
        derivation,
        mode: BuildMode::from(request.mode()),
        limits: service.limits.and(asked),
        held: HeldInputs::default(),
        nar_ahead: true,
        keep_failed: false,
    })
}

/// The limits that a caller sets.
pub(super) fn limits(asked: api::Limits) -> Limits {
    let seconds = |seconds: u64| (seconds > 0).then(|| Duration::from_secs(seconds));
    Limits {
        max_silent: seconds(asked.max_silent_seconds),
        timeout: seconds(asked.timeout_seconds),
        max_log: (asked.max_log_bytes > 0).then_some(asked.max_log_bytes),
    }
}

/// What one caller asks for, and can ask for again.
struct Order {
    core: CoreHandle,
    spec: BuildSpec,
    /// Tells the request that it belongs to.
    asking: Option<Asking>,
}

impl Order {
    /// Asks the core for it, if it was not built `ahead`.
    async fn place(
        &mut self,
        ahead: Option<watch::Receiver<Progress>>,
    ) -> Result<watch::Receiver<Progress>, Status> {
        let progress = match ahead {
            Some(progress) => progress,
            None => {
                let ask = |reply| Command::Build {
                    spec: Box::new(self.spec.clone()),
                    part: None,
                    reply,
                };
                self.core.ask(ask).await.map_err(gone)?
            }
        };
        if let Some(asking) = &mut self.asking {
            asking.follows(&self.spec, &progress);
        }
        Ok(progress)
    }
}

/// How much of which attempt's log the caller has.
#[derive(Default)]
struct LogPosition {
    attempt: u64,
    offset: u64,
}

/// What the caller was told.
#[derive(Default)]
struct Shown {
    waiting: Option<String>,
    attempt: Option<u64>,
    ended: bool,
}

/// One caller's view of a build.
pub(super) struct Follower {
    store_dir: StoreDir,
    progress: watch::Receiver<Progress>,
    log: LogPosition,
    shown: Shown,
    queue: VecDeque<Event>,
    /// What was asked for, by a caller that has all inputs at home.
    order: Option<Order>,
    /// Whether what it waits for is told piece by piece.
    pub(super) explain: bool,
}

impl Follower {
    /// One that is told everything.
    pub(super) fn new(store_dir: StoreDir, progress: watch::Receiver<Progress>) -> Self {
        Self {
            store_dir,
            progress,
            log: LogPosition::default(),
            shown: Shown::default(),
            queue: VecDeque::new(),
            order: None,
            explain: false,
        }
    }

    /// The next event. After the end there is none, and the wait for it is
    /// what keeps the outputs.
    pub(super) async fn next(&mut self) -> Result<Option<api::BuildEvent>, Status> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Ok(Some(api::BuildEvent { event: Some(event) }));
            }
            if self.shown.ended {
                return std::future::pending().await;
            }
            let Progress { stage, attempt } = self.progress.borrow_and_update().clone();
            // Of an attempt that was lost nothing more is worth telling.
            let attempt = attempt.filter(|_| !matches!(stage, Stage::Waiting(_)));
            if let Some(attempt) = attempt {
                self.follow(attempt, &stage).await?;
                if !self.queue.is_empty() {
                    continue;
                }
            }
            match stage {
                Stage::Waiting(waiting) => {
                    if self.shown.waiting.as_deref() != Some(&*waiting.text) {
                        self.shown.waiting = Some(waiting.text.to_string());
                        let details = waiting.details.as_ref().filter(|_| self.explain);
                        self.queue.push_back(Event::Waiting(api::Waiting {
                            reason: waiting.text.to_string(),
                            details: details.map(waiting_for),
                        }));
                        continue;
                    }
                }
                Stage::Running => {}
                Stage::Ended(ended) => {
                    if let (false, Some(order)) = (ended.lost.is_empty(), &mut self.order) {
                        // Another had it built, from inputs that lay elsewhere.
                        self.progress = order.place(None).await?;
                        continue;
                    }
                    let machine = ended.machine.as_ref().map(ToString::to_string);
                    let machine = machine.unwrap_or_default();
                    let mut event = api::Ended::from_value(
                        &self.store_dir,
                        &machine,
                        &ended.result,
                        &ended.outputs,
                    );
                    event.usage = ended.measured.as_ref().map(usage);
                    if let Some(help) = &ended.help {
                        event
                            .error
                            .extend_from_slice(format!("\n{help}").as_bytes());
                    }
                    self.shown.ended = true;
                    self.queue.push_back(Event::Ended(event));
                    continue;
                }
            }
            self.progress.changed().await.map_err(|_| gone(Gone))?;
        }
    }

    /// Queues the news of the newest attempt: that it started, or more of its
    /// log. Queues nothing once its log is read to the end, or when the build
    /// went on without it.
    async fn follow(&mut self, mut attempt: Attempt, stage: &Stage) -> Result<(), Status> {
        if self.shown.attempt != Some(attempt.number) {
            self.shown.attempt = Some(attempt.number);
            self.shown.waiting = None;
            if self.log.attempt != attempt.number {
                self.log = LogPosition {
                    attempt: attempt.number,
                    offset: 0,
                };
            }
            let machine = attempt.machine.to_string();
            self.queue.push_back(Event::Started(api::Started {
                machine,
                attempt: attempt.number,
            }));
            return Ok(());
        }
        let read = attempt.log.read(self.log.offset);
        let bytes = match stage {
            // Its log may never end: what the build does next counts too.
            Stage::Running => tokio::select! {
                bytes = read => bytes,
                changed = self.progress.changed() => {
                    self.progress.mark_changed();
                    return changed.map_err(|_| gone(Gone));
                }
            },
            Stage::Waiting(_) | Stage::Ended(_) => read.await,
        };
        let bytes = bytes
            .map_err(|error| Status::internal(format!("cannot read the build's log: {error}")))?;
        if let Some(bytes) = bytes {
            let offset = self.log.offset;
            self.log.offset += bytes.len() as u64;
            self.queue.push_back(Event::Log(api::Log {
                attempt: attempt.number,
                offset,
                bytes,
            }));
        }
        Ok(())
    }
}

/// What a worker measured, as a message.
pub(super) fn usage(measured: &Measured) -> api::Usage {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let (exit_status, signal) = match measured.exit {
        Some(Exit::Status(status)) => (Some(status), None),
        Some(Exit::Signal(signal)) => (None, Some(signal)),
        None => (None, None),
    };
    api::Usage {
        wall_us: micros(measured.wall),
        cpu_user_us: micros(measured.cpu_user),
        cpu_system_us: micros(measured.cpu_system),
        peak_memory_bytes: measured.peak_memory.unwrap_or_default(),
        written_bytes: measured.written.unwrap_or_default(),
        source: measured.source.clone(),
        exit_status,
        signal,
        sandboxed: measured.sandboxed,
    }
}
