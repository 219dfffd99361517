//! A worker on a socket, and a builder that drives it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use musher_api::{Versions, coordinator, worker as api};
use musher_protocol::types::{BuildResult, BuildStatus, BuiltOutput, NarHash, PathInfo};
use musher_store::NarStream;
use musher_store::local::{ImportChecks, LocalOptions, LocalStore};
use musher_worker::service::{Build, Ended, LogWriter, Order as Job, Service, ServiceParts};
use sha2::{Digest, Sha256};
use tokio::io::{DuplexStream, copy_bidirectional, duplex};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::attempt::{End, Order, run};
use crate::attempt_log::{AttemptLog, attempt_log};
use crate::build::{BuildSpec, Closure};
use crate::builder::musher::{MusherBuilder, MusherSettings};
use crate::builder::{Builder, Outcome};
use crate::core::CoreHandle;
use crate::held_inputs::HeldInputs;
use crate::home::{Home, Place};
use crate::sources::Sources;
use crate::testing::{self, HomeStore, nar, path};
use crate::worker::Way;

/// Waits for something that must come; the clock is a real one here.
pub(super) async fn soon<T>(wait: impl Future<Output = T>) -> T {
    let bound = Duration::from_secs(20);
    let came = tokio::time::timeout(bound, wait).await;
    came.expect("it does not happen")
}

/// A worker and its builder.
pub(super) struct Bench {
    pub(super) builder: Arc<MusherBuilder>,
    service: Service,
    store: Arc<LocalStore>,
    builds: mpsc::Receiver<Running>,
    connections: Arc<Connections>,
    dir: tempfile::TempDir,
}

/// The connections to the worker.
#[derive(Default)]
struct Connections {
    /// How often they were cut.
    cuts: watch::Sender<u32>,
    refused: AtomicBool,
}

/// A build that was begun.
pub(super) struct Running {
    store: Arc<LocalStore>,
    steps: mpsc::Sender<Step>,
}

enum Step {
    Say(String),
    End(Box<Ended>),
}

struct Scripted {
    store: Arc<LocalStore>,
    begun: mpsc::Sender<Running>,
}

/// An attempt under way; dropping it is losing interest.
pub(super) struct Attempting {
    task: JoinHandle<(End, Order)>,
    log: AttemptLog,
}

impl Drop for Attempting {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[async_trait]
impl Build for Scripted {
    async fn build(&self, _: &Job, _: u32, log: &mut LogWriter) -> Ended {
        let (steps, mut script) = mpsc::channel(8);
        let store = self.store.clone();
        let begun = self.begun.send(Running { store, steps }).await;
        begun.expect("the test goes on");
        loop {
            match script.recv().await {
                Some(Step::Say(text)) => log.write(text.as_bytes()).expect("writable"),
                Some(Step::End(ended)) => return *ended,
                None => std::future::pending().await,
            }
        }
    }

    async fn vacated(&self, _: u32) {}
}

impl Running {
    /// The build program says something.
    pub(super) async fn says(&self, text: &str) {
        self.step(Step::Say(text.to_owned())).await;
    }

    /// It succeeds, and its output is the file `name`.
    pub(super) async fn succeeds_with(self, name: &str, references: &[&str]) {
        let info = info(name, references);
        let (store, output) = (self.store.clone(), info.clone());
        let bytes = nar(name);
        let import = move || store.import(&output, &mut &bytes[..], ImportChecks::default());
        let imported = tokio::task::spawn_blocking(import).await;
        imported.expect("no panic").expect("it is taken");
        let mut result = BuildResult::new(BuildStatus::Built, "");
        let built = BuiltOutput {
            drv_hash: None,
            path: info.path.clone(),
            signatures: BTreeSet::new(),
            dependent_realisations: BTreeMap::new(),
        };
        result.built_outputs.insert("out".to_owned(), built);
        let outputs = BTreeMap::from([("out".to_owned(), info)]);
        self.ends(result, outputs).await;
    }

    /// It fails.
    pub(super) async fn fails(self, text: &str) {
        let result = BuildResult::new(BuildStatus::PermanentFailure, text);
        self.ends(result, BTreeMap::new()).await;
    }

    /// It comes to nothing, through no fault of its own.
    pub(super) async fn faults(self, fault: api::Fault, text: &str) {
        self.step(Step::End(Box::new(Ended::fault(fault, text))))
            .await;
    }

    /// Waits until nobody runs it any more.
    pub(super) async fn is_dropped(&self) {
        soon(self.steps.closed()).await;
    }

    async fn ends(&self, result: BuildResult, outputs: BTreeMap<String, PathInfo>) {
        let usage = coordinator::Usage {
            source: "rusage".to_owned(),
            sandboxed: true,
            ..coordinator::Usage::default()
        };
        let ended = Ended {
            result,
            outputs,
            usage: Some(usage),
            fault: api::Fault::None,
            fault_text: String::new(),
            kept: None,
        };
        self.step(Step::End(Box::new(ended))).await;
    }

    async fn step(&self, step: Step) {
        assert!(self.steps.send(step).await.is_ok(), "the build was dropped");
    }
}

impl Bench {
    pub(super) async fn new() -> Self {
        Self::speaking(Versions::OURS).await
    }

    /// A worker that speaks these versions of the protocol.
    pub(super) async fn speaking(versions: Versions) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = LocalStore::open(LocalOptions::below(dir.path().join("store")));
        let store = Arc::new(store.expect("a store"));
        let logs = dir.path().join("worker-logs");
        std::fs::create_dir(&logs).expect("writable");
        let (begun, builds) = mpsc::channel(4);
        let build = Arc::new(Scripted {
            store: store.clone(),
            begun,
        });
        let service = Service::new(ServiceParts {
            store: store.clone(),
            build,
            logs,
            slots: None,
            identity: api::Identity {
                store_dir: store.store_dir().as_str().to_owned(),
                ..api::Identity::default()
            },
            findings: Vec::new(),
            versions,
        });
        let connections = Arc::new(Connections::default());
        let socket = dir.path().join("socket");
        let incoming = listen(&socket, &connections);
        let served = service.clone();
        tokio::spawn(async move {
            let stop = CancellationToken::new();
            served.serve(ReceiverStream::new(incoming), stop).await
        });
        let builder = of(&socket, "test");
        builder.connect().await.expect("connected");
        Self {
            builder,
            service,
            store,
            builds,
            connections,
            dir,
        }
    }

    /// The same worker as another coordinator drives it.
    pub(super) async fn another(&self) -> Arc<MusherBuilder> {
        let builder = of(&self.dir.path().join("socket"), "another");
        builder.connect().await.expect("connected");
        builder
    }

    /// Begins an attempt.
    pub(super) fn attempt(&self, order: Order) -> Attempting {
        self.attempt_of(&self.builder, order)
    }

    /// Begins one of `builder`.
    pub(super) fn attempt_of(&self, builder: &Arc<MusherBuilder>, order: Order) -> Attempting {
        let number: u64 = rand::random();
        let (writer, log) = attempt_log(self.dir.path().join(format!("{number}.log")));
        let builder = builder.clone();
        let task = tokio::spawn(async move {
            let end = run(&*builder, &order, writer).await;
            (end, order)
        });
        Attempting { task, log }
    }

    /// The next build that is begun.
    pub(super) async fn next_build(&mut self) -> Running {
        soon(self.builds.recv()).await.expect("the sender is kept")
    }

    /// Whether the worker's store has the file `name`.
    pub(super) fn has(&self, name: &str) -> bool {
        self.store.is_valid(&path(name)).expect("an answer")
    }

    /// What the worker's store knows of the file `name`, but for when it came.
    pub(super) fn info(&self, name: &str) -> PathInfo {
        let info = self.store.path_info(&path(name)).expect("an answer");
        PathInfo {
            registration_time: 0,
            ..info.expect("it is valid")
        }
    }

    /// Cuts every connection.
    pub(super) fn cut(&self) {
        self.connections.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Lets nobody connect any more.
    pub(super) fn refuse(&self) {
        self.connections.refused.store(true, Ordering::Relaxed);
    }

    /// Waits until the worker keeps that many attempts.
    pub(super) async fn until_attempts(&self, count: usize) {
        let reached = async {
            while self.service.kept() != count {
                tokio::task::yield_now().await;
            }
        };
        soon(reached).await;
    }
}

/// Listens on `socket`, and passes on what is connected there until it is cut.
fn listen(socket: &PathBuf, connections: &Arc<Connections>) -> mpsc::Receiver<DuplexStream> {
    let listener = UnixListener::bind(socket).expect("a socket");
    let (sender, incoming) = mpsc::channel(4);
    let connections = connections.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            if connections.refused.load(Ordering::Relaxed) {
                continue;
            }
            let (mut ours, theirs) = duplex(64 << 10);
            let mut cuts = connections.cuts.subscribe();
            sender.send(theirs).await.expect("it is served");
            tokio::spawn(async move {
                tokio::select! {
                    _ = copy_bidirectional(&mut stream, &mut ours) => {}
                    _ = cuts.changed() => {}
                }
            });
        }
    });
    incoming
}

/// What drives the worker at `socket` for the coordinator of this name.
fn of(socket: &Path, coordinator: &str) -> Arc<MusherBuilder> {
    let settings = MusherSettings {
        coordinator: coordinator.to_owned(),
        sandbox_paths: Vec::new(),
        timeout: Duration::from_secs(10),
        succession: Duration::from_millis(50),
        budget: None,
        versions: Versions::OURS,
    };
    let way = Way::Socket(socket.to_owned());
    Arc::new(MusherBuilder::new(way, settings))
}

impl Attempting {
    /// How it ends.
    pub(super) async fn end(mut self) -> (End, Order) {
        soon(&mut self.task).await.expect("no panic")
    }

    /// How it ends, with the build.
    pub(super) async fn outcome(self) -> (Outcome, Order) {
        match self.end().await {
            (End::Outcome { outcome, .. }, order) => (*outcome, order),
            (End::Fault { reason, .. }, _) => panic!("it faulted: {reason}"),
            (End::Outdated { lost }, _) => panic!("it lost {lost:?}"),
            (End::Bereft { lost }, _) => panic!("it could not have {lost:?}"),
            (End::Returned, _) => panic!("it was handed back"),
        }
    }

    /// How it ends, through the machine's fault.
    pub(super) async fn fault(self) -> String {
        let End::Fault { reason, .. } = self.end().await.0 else {
            panic!("it is the machine's fault");
        };
        reason
    }

    /// Waits until the log has `length` bytes.
    pub(super) async fn log_reaches(&self, length: u64) {
        let mut log = self.log.clone();
        soon(log.read(length - 1))
            .await
            .expect("readable")
            .expect("it goes on");
    }

    /// The whole log, once it is complete.
    pub(super) fn log(&self) -> impl Future<Output = String> + use<> {
        let mut log = self.log.clone();
        async move {
            let mut text = String::new();
            while let Some(bytes) = soon(log.read(text.len() as u64)).await.expect("readable") {
                text += &String::from_utf8_lossy(&bytes);
            }
            text
        }
    }
}

/// What there is to know of the file `name`, whose NAR is that of its name.
pub(super) fn info(name: &str, references: &[&str]) -> PathInfo {
    PathInfo {
        nar_hash: NarHash(Sha256::digest(nar(name)).into()),
        ..testing::info(name, references)
    }
}

/// An order to build `spec` from `inputs`, each with its references, of which
/// the worker is not known to have any.
pub(super) fn order(spec: BuildSpec, inputs: &[(&str, &[&str])]) -> Order {
    let inputs = inputs
        .iter()
        .map(|(name, references)| info(name, references));
    let mut order = testing::order(spec, inputs.collect());
    order.lease.0 = rand::random::<u32>().into();
    order
}

/// An order to build `name` from `input`, a file with this content.
pub(super) fn order_of_long(name: &str, input: &str, content: &str) -> Order {
    let bytes = nar(content);
    let long = PathInfo {
        nar_hash: NarHash(Sha256::digest(&bytes).into()),
        nar_size: bytes.len() as u64,
        ..testing::info(input, &[])
    };
    let home = HomeStore::new([]);
    home.add(long.clone(), content);
    let home = Arc::new(Home::new(Arc::new(home), Place::Elsewhere));
    Order {
        sources: Sources::new(home, HeldInputs::default(), CoreHandle::to_nobody()),
        closure: Arc::new(Closure(vec![long])),
        ..order(testing::spec(name, &[input]), &[])
    }
}

/// All of a NAR.
pub(super) async fn read(nar: NarStream) -> Vec<u8> {
    let chunks: Vec<_> = soon(nar.try_collect()).await.expect("a NAR");
    chunks.concat()
}
