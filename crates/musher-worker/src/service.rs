//! What a coordinator may ask of this worker: the gRPC service over any stream
//! of bytes. Turns messages into calls of the store and of whoever builds, and
//! back. Knows neither sockets nor processes.

mod attempt;
mod attempts;
mod build;
pub(crate) mod busy;
mod capabilities;
mod connection;
mod execute;
mod follow;
mod gifts;
mod import;
mod lease;
mod life;
mod log;
mod order;
mod owners;
mod pulse;
mod refusal;
mod runs_i686;
mod slots;
mod status;
mod table;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::{Stream, StreamExt as _};
use musher_api::limits::{CONNECTION_WINDOW, FRAME, MESSAGE, PATHS, STREAM_WINDOW};
use musher_api::worker as api;
use musher_api::worker::worker_server::{Worker, WorkerServer};
use musher_api::{Versions, coordinator};
use musher_store::local::{LocalError, LocalStore};
use musher_store::read_nar_file;
use nix_derivation::{StoreDir, StorePath};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, Streaming};

use self::attempt::Means;
use self::attempts::{Asked, Attempts};
use self::busy::Busy;
use self::connection::{Caller, Connection};
use self::gifts::{Gifts, Taking};
use self::owners::Owners;
use self::refusal::{broken, refused, refused_by_store};
use self::slots::Slots;
use crate::process::SANDBOX;

pub use self::build::{Build, Ended, Limits, Order};
pub use self::execute::{Execute, sandbox_path};
pub use self::log::LogWriter;
pub(crate) use self::refusal::error_text;

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// How often what was kept for long enough is let go.
const SWEEP: Duration = Duration::from_secs(60);

/// How long a connection may be quiet until its other end is asked whether it
/// is there.
const QUIET: Duration = Duration::from_secs(30);

/// How long it may take to answer: as long as what waits on a slow link before
/// the question and the answer takes.
const ANSWER: Duration = Duration::from_secs(60);

/// Answers to offers that may wait for a slow caller.
const REPLIES: usize = 16;

/// What a worker is made of.
pub struct ServiceParts {
    /// Its store.
    pub store: Arc<LocalStore>,
    /// Whoever builds.
    pub build: Arc<dyn Build>,
    /// Where the logs of attempts lie. What is in there is removed.
    pub logs: PathBuf,
    /// The most attempts at once; none for as many as a coordinator asks for.
    pub slots: Option<u32>,
    /// Which worker this is.
    pub identity: api::Identity,
    /// What keeps builds from being sandboxed or measured here.
    pub findings: Vec<api::Finding>,
    /// The versions of the protocol that it speaks.
    pub versions: Versions,
}

/// The service. Clones share everything.
#[derive(Clone)]
pub struct Service(Arc<Shared>);

struct Shared {
    store: Arc<LocalStore>,
    attempts: Attempts,
    gifts: Gifts,
    owners: Owners,
    slots: Slots,
    identity: api::Identity,
    findings: Vec<api::Finding>,
    versions: Versions,
    started: SystemTime,
    retiring: watch::Sender<bool>,
    budget: watch::Sender<Option<api::Budget>>,
    /// Connections.
    connections: Busy,
    /// Attempts that have not ended, and transfers.
    running: Busy,
    /// Attempts that somebody may still ask for.
    kept: Busy,
    /// Told where something was not written for want of space.
    full: Arc<Notify>,
}

impl Service {
    /// A service made of `parts`. Must be called within a tokio runtime.
    pub fn new(parts: ServiceParts) -> Self {
        let (gifts, owners) = (Gifts::default(), Owners::default());
        let (running, kept) = (Busy::default(), Busy::default());
        let full = Arc::new(Notify::new());
        let slots = Slots::new(parts.slots);
        let means = Means {
            store: parts.store.clone(),
            build: parts.build,
            slots: slots.clone(),
            gifts: gifts.clone(),
            running: running.clone(),
            kept: kept.clone(),
            full: full.clone(),
        };
        let attempts = Attempts::new(means, owners.clone(), parts.logs);
        let service = Self(Arc::new(Shared {
            store: parts.store,
            attempts,
            gifts,
            owners,
            slots,
            identity: parts.identity,
            findings: parts.findings,
            versions: parts.versions,
            started: SystemTime::now(),
            retiring: watch::Sender::new(false),
            budget: watch::Sender::new(None),
            connections: Busy::default(),
            running,
            kept,
            full,
        }));
        let shared = Arc::downgrade(&service.0);
        tokio::spawn(async move {
            let mut ticks = interval(SWEEP);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let Some(shared) = shared.upgrade() else {
                    return;
                };
                shared.attempts.sweep(Instant::now());
            }
        });
        service
    }

    /// Answers on every connection of `incoming`, until it ends or `stop` is
    /// cancelled; then on those that are open until they end.
    pub async fn serve<T>(
        &self,
        incoming: impl Stream<Item = T> + Send + 'static,
        stop: CancellationToken,
    ) -> Result<(), tonic::transport::Error>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let connections = self.0.connections.clone();
        let incoming = incoming
            .map(move |stream| std::io::Result::Ok(Connection::new(stream, connections.enter())));
        let worker = WorkerServer::new(self.clone())
            .max_decoding_message_size(MESSAGE)
            .max_encoding_message_size(MESSAGE);
        tonic::transport::Server::builder()
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .http2_adaptive_window(Some(false))
            .max_frame_size(FRAME)
            // A caller whose machine has vanished never hangs up.
            .http2_keepalive_interval(Some(QUIET))
            .http2_keepalive_timeout(Some(ANSWER))
            .add_service(worker)
            .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
            .await
    }

    /// What the last coordinator that had a say wants the store to keep to.
    pub fn budget(&self) -> watch::Receiver<Option<api::Budget>> {
        self.0.budget.subscribe()
    }
}

impl Shared {
    fn store_dir(&self) -> &StoreDir {
        self.store.store_dir()
    }

    fn parse_all(&self, paths: &[String]) -> Result<Vec<StorePath>, Status> {
        if paths.len() > PATHS {
            return Err(broken("too many paths in one message"));
        }
        let paths = paths.iter().map(|path| parse_path(self.store_dir(), path));
        paths.collect()
    }

    fn beat(&self, number: u64) -> api::Beat {
        let (store, retiring) = (self.store.real_store_dir(), *self.retiring.borrow());
        capabilities::beat(number, self.attempts.active(), store, retiring)
    }
}

#[tonic::async_trait]
impl Worker for Service {
    type PulseStream = Answers<api::Beat>;
    type GiveNarsStream = Answers<api::GiftReply>;
    type TakeNarStream = Answers<api::NarChunk>;
    type AttemptStream = Answers<api::AttemptEvent>;

    async fn hello(
        &self,
        request: Request<api::HelloRequest>,
    ) -> Result<Response<api::HelloReply>, Status> {
        let caller = caller(&request);
        let request = request.into_inner();
        let ours = &self.0.versions;
        let theirs = Versions::new(request.min_version, request.max_version);
        let version = (ours.agree(&theirs))
            .map_err(|error| Status::failed_precondition(error.to_string()))?;
        caller.is_called(&request.coordinator);
        if request.reconcile {
            let wanted = request.wanted.into_iter().collect();
            self.let_go(&request.coordinator, &wanted);
        }
        if request.budget.is_some() {
            self.0.budget.send_replace(request.budget);
        }
        let store = self.0.store.real_store_dir();
        let mut capabilities = capabilities::capabilities(store, self.0.slots.most());
        capabilities.findings.clone_from(&self.0.findings);
        capabilities.sandboxed = self.0.findings.iter().all(|found| found.subject != SANDBOX);
        Ok(Response::new(api::HelloReply {
            version,
            min_version: ours.min(),
            max_version: ours.max(),
            identity: Some(self.0.identity.clone()),
            capabilities: Some(capabilities),
            release: env!("CARGO_PKG_VERSION").to_owned(),
        }))
    }

    async fn pulse(
        &self,
        request: Request<Streaming<api::Beat>>,
    ) -> Result<Response<Self::PulseStream>, Status> {
        let present = self.0.owners.arrive(&caller(&request).name());
        let shared = self.0.clone();
        let beats = pulse::pulse(request.into_inner(), present, move |number| {
            shared.beat(number)
        });
        Ok(Response::new(Box::pin(beats)))
    }

    async fn valid_paths(
        &self,
        request: Request<api::ValidPathsRequest>,
    ) -> Result<Response<api::ValidPathsReply>, Status> {
        let caller = caller(&request);
        let request = request.into_inner();
        let paths = self.0.parse_all(&request.paths)?;
        let lease = (request.lease > 0).then(|| caller.lease(request.lease));
        let shared = self.0.clone();
        let valid = blocking(move || {
            if let Some(lease) = lease {
                shared.attempts.roots(&lease)?.add_all(&paths)?;
            }
            shared.store.valid_paths(&paths.into_iter().collect())
        });
        let valid = valid.await.map_err(|error| refused_by_store(&error))?;
        let valid = valid
            .iter()
            .map(|path| self.0.store_dir().render_path(path));
        Ok(Response::new(api::ValidPathsReply {
            valid: valid.collect(),
        }))
    }

    async fn path_infos(
        &self,
        request: Request<api::PathInfosRequest>,
    ) -> Result<Response<api::PathInfosReply>, Status> {
        let paths = self.0.parse_all(&request.into_inner().paths)?;
        let store = self.0.store.clone();
        let infos = blocking(move || store.path_infos(&paths)).await;
        let infos = infos.map_err(|error| refused_by_store(&error))?;
        let dir = self.0.store_dir();
        Ok(Response::new(api::PathInfosReply {
            infos: (infos.iter())
                .map(|info| coordinator::PathInfo::from_value(dir, info))
                .collect(),
        }))
    }

    async fn give_nars(
        &self,
        request: Request<Streaming<api::Gift>>,
    ) -> Result<Response<Self::GiveNarsStream>, Status> {
        let caller = caller(&request);
        let mut gift = request.into_inner();
        let Some(api::Gift {
            item: Some(api::gift::Item::Begin(api::Begin { lease })),
        }) = gift.message().await?
        else {
            return Err(broken("a gift without its beginning"));
        };
        let shared = self.0.clone();
        let kept = lease > 0;
        let lease = caller.lease(lease);
        let roots = match kept {
            false => shared.store.temp_roots().map(Arc::new),
            true => shared.attempts.roots(&lease),
        };
        let taking = Taking {
            roots: roots.map_err(|error| refused_by_store(&error))?,
            store: shared.store.clone(),
        };
        let (opened, busy) = (shared.gifts.open(lease), shared.running.enter());
        let (replies, answers) = mpsc::channel(REPLIES);
        tokio::spawn(async move {
            let taken = tokio::select! {
                taken = gifts::take(taking, &mut gift, &replies) => taken,
                () = replies.closed() => return,
            };
            // An attempt that waits for this sees it before the giver does.
            drop((opened, busy));
            if let Err(status) = taken {
                if status.code() == Code::ResourceExhausted {
                    shared.full.notify_one();
                }
                // The giver may have gone.
                let _ = replies.send(Err(status)).await;
            }
        });
        let answers = tokio_stream::wrappers::ReceiverStream::new(answers);
        Ok(Response::new(Box::pin(answers)))
    }

    async fn take_nar(
        &self,
        request: Request<api::TakeNarRequest>,
    ) -> Result<Response<Self::TakeNarStream>, Status> {
        let api::TakeNarRequest { path, offset } = request.into_inner();
        let path = parse_path(self.0.store_dir(), &path)?;
        let (store, asked) = (self.0.store.clone(), path.clone());
        let roots = blocking(move || {
            let roots = store.temp_roots()?;
            roots.add(&asked)?;
            Ok(store.is_valid(&asked)?.then_some(roots))
        });
        let Some(roots) = roots.await.map_err(|error| refused_by_store(&error))? else {
            return Err(Status::not_found(format!(
                "path `{path}` is not valid here"
            )));
        };
        let kept = (roots, self.0.running.enter());
        let chunks = read_nar_file(self.0.store.real_path(&path));
        let mut skip = offset;
        let chunks = chunks.filter_map(move |chunk| {
            let _kept = &kept;
            let rest = chunk.map(|mut bytes| {
                let here = bytes.len().min(usize::try_from(skip).unwrap_or(usize::MAX));
                skip -= here as u64;
                bytes.split_off(here)
            });
            let answer = match rest {
                Ok(bytes) if bytes.is_empty() => None,
                Ok(bytes) => Some(Ok(api::NarChunk { bytes })),
                Err(error) => Some(Err(Status::data_loss(error_text(&error)))),
            };
            std::future::ready(answer)
        });
        Ok(Response::new(Box::pin(chunks)))
    }

    async fn attempt(
        &self,
        request: Request<api::AttemptRequest>,
    ) -> Result<Response<Self::AttemptStream>, Status> {
        let caller = caller(&request);
        let request = request.into_inner();
        if request.lease == 0 {
            return Err(broken("an attempt without a lease"));
        }
        let order = request.order.as_ref();
        let asked = Asked {
            lease: caller.lease(request.lease),
            order: order
                .map(|order| order::read(self.0.store_dir(), order))
                .transpose()?,
            slots: (request.slots > 0).then_some(request.slots),
            retiring: *self.0.retiring.borrow(),
        };
        let attempt = self.0.attempts.attempt(asked).map_err(refused)?;
        let store = self.0.store.clone();
        let events = follow::follow(store, attempt, request.log_offset, request.nar_ahead);
        Ok(Response::new(Box::pin(events)))
    }

    async fn cancel(
        &self,
        request: Request<api::CancelRequest>,
    ) -> Result<Response<api::CancelReply>, Status> {
        let caller = caller(&request);
        let leases = caller.leases(&request.into_inner().leases);
        self.0.attempts.cancel(&leases).await;
        Ok(Response::new(api::CancelReply {}))
    }

    async fn release(
        &self,
        request: Request<api::ReleaseRequest>,
    ) -> Result<Response<api::ReleaseReply>, Status> {
        let caller = caller(&request);
        let leases = caller.leases(&request.into_inner().leases);
        self.0.attempts.release(&leases);
        Ok(Response::new(api::ReleaseReply {}))
    }

    async fn status(
        &self,
        _request: Request<api::StatusRequest>,
    ) -> Result<Response<api::StatusReply>, Status> {
        Ok(Response::new(status::status(&self.0)))
    }

    async fn retire(
        &self,
        request: Request<api::RetireRequest>,
    ) -> Result<Response<api::RetireReply>, Status> {
        if request.into_inner().binary != self.0.identity.binary {
            self.0.retiring.send_replace(true);
        }
        let retiring = *self.0.retiring.borrow();
        Ok(Response::new(api::RetireReply { retiring }))
    }
}

fn caller<T>(request: &Request<T>) -> Caller {
    let caller = request.extensions().get::<Caller>();
    caller.cloned().unwrap_or_default()
}

fn parse_path(store_dir: &StoreDir, path: &str) -> Result<StorePath, Status> {
    (store_dir.parse_path(path.as_bytes()))
        .map_err(|error| Status::invalid_argument(format!("bad path `{path}`: {error}")))
}

/// Runs `work`, which blocks, on a thread that may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LocalError> + Send + 'static,
) -> Result<T, LocalError> {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
