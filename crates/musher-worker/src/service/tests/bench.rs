//! A worker, those who build for it, and connections to it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hyper_util::rt::TokioIo;
use musher_api::worker as api;
use musher_api::worker::attempt_event::Event;
use musher_api::worker::worker_client::WorkerClient;
use musher_api::{Versions, coordinator};
use musher_protocol::types::{
    BasicDerivation, BasicOutput, BuildResult, BuildStatus, NarHash, PathInfo,
};
use musher_store::local::{LocalOptions, LocalStore};
use nix_archive::nar::{encode_regular, hash_regular};
use nix_derivation::{StoreDir, StorePath};
use tokio::io::{DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};
use tower::service_fn;

use crate::service::{Build, Ended, LogWriter, Order, Service, ServiceParts};

pub(super) type Client = WorkerClient<Channel>;

/// Waits for something that must come.
pub(super) async fn soon<T>(wait: impl Future<Output = T>) -> T {
    let bound = Duration::from_secs(20);
    timeout(bound, wait).await.expect("it does not happen")
}

/// A worker whose builds are the test's.
pub(super) struct Bench {
    pub(super) service: Service,
    pub(super) store: Arc<LocalStore>,
    builds: mpsc::Receiver<Running>,
    connections: mpsc::Sender<DuplexStream>,
    _dir: tempfile::TempDir,
}

/// A build that was begun.
pub(super) struct Running {
    pub(super) name: String,
    pub(super) slot: u32,
    steps: mpsc::Sender<Step>,
}

enum Step {
    Say(String),
    End(Box<Ended>),
}

struct Scripted(mpsc::Sender<Running>);

#[async_trait]
impl Build for Scripted {
    async fn build(&self, order: &Order, slot: u32, log: &mut LogWriter) -> Ended {
        let (steps, mut script) = mpsc::channel(8);
        let name = order.drv_path.name().trim_end_matches(".drv").to_owned();
        let running = Running { name, slot, steps };
        self.0.send(running).await.expect("the test goes on");
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
        let said = self.steps.send(Step::Say(text.to_owned())).await;
        said.expect("the build runs");
    }

    /// It succeeds, with nothing to show for it.
    pub(super) async fn succeeds(self) {
        let mut result = BuildResult::new(BuildStatus::Built, "");
        result.times_built = 1;
        let ended = Ended {
            result,
            outputs: BTreeMap::new(),
            usage: Some(coordinator::Usage::default()),
            fault: api::Fault::None,
            fault_text: String::new(),
            kept: None,
        };
        self.ends(ended).await;
    }

    /// It ends like that.
    pub(super) async fn ends(self, ended: Ended) {
        let sent = self.steps.send(Step::End(Box::new(ended))).await;
        sent.expect("the build runs");
    }

    /// Waits until nobody runs it any more.
    pub(super) async fn is_dropped(&self) {
        soon(self.steps.closed()).await;
    }
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::speaking(Versions::OURS)
    }

    /// A worker that speaks these versions of the protocol.
    pub(super) fn speaking(versions: Versions) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = LocalStore::open(LocalOptions::below(dir.path().join("store")));
        let store = Arc::new(store.expect("a store"));
        let logs = dir.path().join("logs");
        std::fs::create_dir(&logs).expect("writable");
        let (sender, builds) = mpsc::channel(16);
        let service = Service::new(ServiceParts {
            store: store.clone(),
            build: Arc::new(Scripted(sender)),
            logs,
            slots: None,
            identity: api::Identity {
                binary: "this".to_owned(),
                ..api::Identity::default()
            },
            findings: Vec::new(),
            versions,
        });
        let (connections, incoming) = mpsc::channel(4);
        let served = service.clone();
        tokio::spawn(async move {
            let incoming = ReceiverStream::new(incoming);
            let served = served.serve(incoming, CancellationToken::new()).await;
            served.expect("it goes on");
        });
        Self {
            service,
            store,
            builds,
            connections,
            _dir: dir,
        }
    }

    /// A connection of which nothing is known but its bytes.
    pub(super) async fn pipe(&self) -> DuplexStream {
        let (ours, theirs) = duplex(64 << 10);
        self.connections.send(theirs).await.expect("it listens");
        ours
    }

    /// A connection of a coordinator that did not say who it is.
    pub(super) async fn connect(&self) -> Client {
        let mut ours = Some(self.pipe().await);
        let connector = service_fn(move |_| {
            let ours = ours.take().map(TokioIo::new);
            async move { ours.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)) }
        });
        let channel = Endpoint::from_static("http://worker");
        let channel = channel.connect_with_connector(connector).await;
        Client::new(channel.expect("connected"))
    }

    /// A connection of the coordinator `name`, which still wants `wanted`.
    pub(super) async fn coordinator(&self, name: &str, wanted: &[u64]) -> Client {
        let mut client = self.connect().await;
        let request = api::HelloRequest {
            coordinator: name.to_owned(),
            reconcile: true,
            wanted: wanted.to_vec(),
            ..hello(&Versions::OURS)
        };
        client.hello(request).await.expect("a greeting");
        client
    }

    /// The next build that is begun.
    pub(super) async fn next_build(&mut self) -> Running {
        soon(self.builds.recv()).await.expect("the sender is kept")
    }

    /// Whether no further build was begun.
    pub(super) fn no_build(&mut self) -> bool {
        self.builds.try_recv().is_err()
    }
}

/// Signs of life, given until what is returned is dropped, and heard.
pub(super) async fn pulse(client: &mut Client) -> (mpsc::Sender<api::Beat>, Streaming<api::Beat>) {
    let (beats, queue) = mpsc::channel(1);
    let beat = api::Beat::default();
    beats.send(beat).await.expect("there is room");
    let heard = soon(client.pulse(ReceiverStream::new(queue))).await;
    (beats, heard.expect("a pulse").into_inner())
}

/// A greeting of one who speaks `versions`.
pub(super) fn hello(versions: &Versions) -> api::HelloRequest {
    api::HelloRequest {
        min_version: versions.min(),
        max_version: versions.max(),
        ..api::HelloRequest::default()
    }
}

/// The path that a test calls `name`.
pub(super) fn path(name: &str) -> StorePath {
    StorePath::from_parts([1; 20], name).expect("a valid name")
}

/// The absolute path that a test calls `name`.
pub(super) fn absolute(name: &str) -> String {
    StoreDir::default().render_path(&path(name))
}

/// A file called `name` that holds its name, and its NAR.
pub(super) fn file(name: &str, references: &[&str]) -> (PathInfo, Vec<u8>) {
    let content = name.repeat(20);
    let mut nar = Vec::new();
    encode_regular(&mut nar, content.as_bytes(), false).expect("a NAR");
    let info = PathInfo {
        path: path(name),
        deriver: None,
        nar_hash: NarHash(hash_regular(content.as_bytes(), false).sha256),
        nar_size: nar.len() as u64,
        references: references.iter().map(|name| path(name)).collect(),
        registration_time: 0,
        ultimate: false,
        signatures: BTreeSet::new(),
        ca: None,
    };
    (info, nar)
}

/// An order to build `name` from `inputs`.
pub(super) fn order(name: &str, inputs: &[&str]) -> api::Order {
    let out = BasicOutput {
        path: Some(path(name)),
        hash_algo: String::new(),
        hash: String::new(),
    };
    let derivation = BasicDerivation {
        outputs: BTreeMap::from([("out".to_owned(), out)]),
        input_sources: inputs.iter().map(|name| path(name)).collect(),
        system: "x86_64-linux".to_owned(),
        builder: "/bin/sh".to_owned(),
        args: Vec::new(),
        env: BTreeMap::new(),
    };
    let message = coordinator::Derivation::from_value(&StoreDir::default(), &derivation);
    api::Order {
        drv_path: absolute(&format!("{name}.drv")),
        derivation: Some(message),
        ..api::Order::default()
    }
}

/// A request for an attempt.
pub(super) fn request(lease: u64, order: Option<api::Order>) -> api::AttemptRequest {
    api::AttemptRequest {
        lease,
        order,
        ..api::AttemptRequest::default()
    }
}

/// Follows an attempt.
pub(super) async fn follow(
    client: &mut Client,
    request: api::AttemptRequest,
) -> Result<Streaming<api::AttemptEvent>, Status> {
    Ok(soon(client.attempt(request)).await?.into_inner())
}

/// Makes sure that an attempt is refused, and says how.
pub(super) async fn refused(client: &mut Client, request: api::AttemptRequest) -> Code {
    match follow(client, request).await {
        Ok(_) => panic!("it is not refused"),
        Err(status) => status.code(),
    }
}

/// The next event of an attempt, in few words.
pub(super) async fn next(events: &mut Streaming<api::AttemptEvent>) -> String {
    let event = soon(events.message()).await.expect("it goes on");
    match event.and_then(|event| event.event) {
        None => "over".to_owned(),
        Some(Event::Started(_)) => "started".to_owned(),
        Some(Event::Log(log)) => {
            let text = String::from_utf8_lossy(&log.bytes);
            format!("log {} {text:?}", log.offset)
        }
        Some(Event::Missing(missing)) => format!("missing {}", missing.paths.join(" ")),
        Some(Event::Ended(ended)) => {
            let status = ended.result.as_ref().map(|result| result.status);
            format!("ended {:?} {:?}", status, ended.fault())
        }
    }
}
