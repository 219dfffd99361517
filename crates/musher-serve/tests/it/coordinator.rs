//! A coordinator on a real socket that hands each call to the test.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::Stream;
use musher_api::coordinator as api;
use musher_api::coordinator::build_event::Event;
use musher_api::coordinator::build_news::News;
use musher_api::coordinator::coordinator_server::{Coordinator, CoordinatorServer};
use musher_api::coordinator::realise_event;
use musher_protocol::types::PathInfo;
use musher_protocol::worker::ClientEvent;
use nix_derivation::{StoreDir, StorePath};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::{Request, Response, Status};

use crate::host::Client;

/// No test waits longer for anything.
pub(crate) const BOUND: Duration = Duration::from_secs(20);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A call of `Build`, which the test answers.
pub(crate) struct BuildCall {
    pub(crate) request: api::BuildRequest,
    events: mpsc::Sender<Result<api::BuildEvent, Status>>,
}

impl BuildCall {
    pub(crate) async fn say(&self, event: Event) {
        let event = api::BuildEvent { event: Some(event) };
        self.events
            .send(Ok(event))
            .await
            .expect("the session listens");
    }

    pub(crate) async fn starts(&self, machine: &str, attempt: u64) {
        let machine = machine.to_owned();
        self.say(Event::Started(api::Started { machine, attempt }))
            .await;
    }

    pub(crate) async fn logs(&self, attempt: u64, offset: u64, bytes: &str) {
        let bytes = bytes.to_owned().into_bytes().into();
        self.say(Event::Log(api::Log {
            attempt,
            offset,
            bytes,
        }))
        .await;
    }

    /// Refuses the build.
    pub(crate) async fn refuse(&self, message: &str) {
        let status = Status::invalid_argument(message);
        self.events
            .send(Err(status))
            .await
            .expect("the session listens");
    }

    /// Waits until the session lets go of the build.
    pub(crate) async fn released(self) {
        bounded(self.events.closed()).await;
    }

    pub(crate) fn is_released(&self) -> bool {
        self.events.is_closed()
    }
}

/// A call of `ReadNar`, which the test answers.
pub(crate) struct NarCall {
    pub(crate) request: api::ReadNarRequest,
    chunks: mpsc::Sender<Result<api::NarChunk, Status>>,
}

impl NarCall {
    pub(crate) async fn send(&self, bytes: &[u8]) {
        let bytes = bytes.to_vec().into();
        let chunk = api::NarChunk { bytes };
        self.chunks
            .send(Ok(chunk))
            .await
            .expect("the session listens");
    }

    /// Sends without waiting; returns whether there was room.
    pub(crate) fn try_send(&self, bytes: &bytes::Bytes) -> bool {
        let bytes = bytes.clone();
        self.chunks.try_send(Ok(api::NarChunk { bytes })).is_ok()
    }

    pub(crate) async fn fail(&self, status: Status) {
        self.chunks
            .send(Err(status))
            .await
            .expect("the session listens");
    }
}

/// A call of `Realise`, which the test answers.
pub(crate) struct RealiseCall {
    pub(crate) request: api::RealiseRequest,
    events: mpsc::Sender<Result<api::RealiseEvent, Status>>,
}

impl RealiseCall {
    /// Tells something of a build.
    pub(crate) async fn tell(&self, drv_path: &StorePath, news: News) {
        let drv_path = drv_path.to_absolute_path();
        let news = Some(news);
        self.say(realise_event::Event::Build(api::BuildNews {
            drv_path,
            news,
        }))
        .await;
    }

    /// Says how it all ended.
    pub(crate) async fn done(&self, roots: Vec<api::RootEnd>) {
        self.say(realise_event::Event::Done(api::Done {
            roots,
            summary: None,
        }))
        .await;
    }

    async fn say(&self, event: realise_event::Event) {
        let event = api::RealiseEvent { event: Some(event) };
        self.events
            .send(Ok(event))
            .await
            .expect("the session listens");
    }

    /// Waits until the session lets go of the request.
    pub(crate) async fn released(self) {
        bounded(self.events.closed()).await;
    }
}

/// What the session asks of the coordinator.
pub(crate) enum Call {
    Build(BuildCall),
    Realise(RealiseCall),
    Nar(NarCall),
}

/// Outputs of builds that other sessions follow.
type Others = Arc<Mutex<Vec<api::FoundOutput>>>;

/// What is valid in the coordinator's words, if it says so.
type Valid = Arc<Mutex<Option<Vec<String>>>>;

struct Service {
    calls: mpsc::UnboundedSender<Call>,
    others: Others,
    valid: Valid,
}

#[tonic::async_trait]
impl Coordinator for Service {
    type BuildStream = Answers<api::BuildEvent>;
    type ReadNarStream = Answers<api::NarChunk>;
    type RealiseStream = Answers<api::RealiseEvent>;
    type ReadLogStream = Answers<api::LogChunk>;

    async fn build(
        &self,
        request: Request<api::BuildRequest>,
    ) -> Result<Response<Self::BuildStream>, Status> {
        let (events, stream) = mpsc::channel(1);
        let request = request.into_inner();
        let _ = self.calls.send(Call::Build(BuildCall { request, events }));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    /// Sessions ask the home store where the coordinator does not say.
    async fn valid_paths(
        &self,
        _request: Request<api::ValidPathsRequest>,
    ) -> Result<Response<api::ValidPathsReply>, Status> {
        match self.valid.lock().expect("no panic").clone() {
            Some(valid) => Ok(Response::new(api::ValidPathsReply { valid })),
            None => Err(Status::internal("the home store does not answer")),
        }
    }

    async fn find_outputs(
        &self,
        request: Request<api::FindOutputsRequest>,
    ) -> Result<Response<api::FindOutputsReply>, Status> {
        let paths = request.into_inner().paths;
        let others = self.others.lock().expect("no panic");
        let outputs = (others.iter())
            .filter(|output| {
                let info = output.info.as_ref();
                info.is_some_and(|info| paths.contains(&info.path))
            })
            .cloned()
            .collect();
        Ok(Response::new(api::FindOutputsReply { outputs }))
    }

    async fn read_nar(
        &self,
        request: Request<api::ReadNarRequest>,
    ) -> Result<Response<Self::ReadNarStream>, Status> {
        let (chunks, stream) = mpsc::channel(1);
        let request = request.into_inner();
        let _ = self.calls.send(Call::Nar(NarCall { request, chunks }));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn realise(
        &self,
        request: Request<api::RealiseRequest>,
    ) -> Result<Response<Self::RealiseStream>, Status> {
        let (events, stream) = mpsc::channel(1);
        let request = request.into_inner();
        let call = RealiseCall { request, events };
        let _ = self.calls.send(Call::Realise(call));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn home(
        &self,
        _request: Request<api::HomeRequest>,
    ) -> Result<Response<api::HomeReply>, Status> {
        Err(Status::unimplemented("not asked by sessions"))
    }

    async fn import(
        &self,
        _request: Request<tonic::Streaming<api::ImportMessage>>,
    ) -> Result<Response<api::ImportReply>, Status> {
        Err(Status::unimplemented("not asked by sessions"))
    }

    async fn add_root(
        &self,
        _request: Request<api::AddRootRequest>,
    ) -> Result<Response<api::AddRootReply>, Status> {
        Err(Status::unimplemented("not asked by sessions"))
    }

    async fn read_log(
        &self,
        _request: Request<api::ReadLogRequest>,
    ) -> Result<Response<Self::ReadLogStream>, Status> {
        Err(Status::unimplemented("not asked by sessions"))
    }

    async fn status(
        &self,
        _request: Request<api::StatusRequest>,
    ) -> Result<Response<api::StatusReply>, Status> {
        Err(Status::unimplemented("not asked by sessions"))
    }

    async fn foresee(
        &self,
        _request: Request<api::ForeseeRequest>,
    ) -> Result<Response<api::ForeseeReply>, Status> {
        Err(Status::unimplemented("not asked by sessions"))
    }

    async fn history(
        &self,
        _request: Request<api::HistoryRequest>,
    ) -> Result<Response<api::HistoryReply>, Status> {
        Err(Status::unimplemented("not asked by sessions"))
    }

    async fn why(
        &self,
        _request: Request<api::WhyRequest>,
    ) -> Result<Response<api::WhyReply>, Status> {
        Err(Status::unimplemented("not asked by sessions"))
    }

    async fn explain(
        &self,
        _request: Request<api::ExplainRequest>,
    ) -> Result<Response<api::ExplainReply>, Status> {
        Err(Status::unimplemented("not asked by sessions"))
    }

    async fn drain(
        &self,
        _request: Request<api::DrainRequest>,
    ) -> Result<Response<api::DrainReply>, Status> {
        Err(Status::unimplemented("not asked by sessions"))
    }

    async fn reload(
        &self,
        _request: Request<api::ReloadRequest>,
    ) -> Result<Response<api::ReloadReply>, Status> {
        Err(Status::unimplemented("not asked by sessions"))
    }
}

/// The coordinator. Its drop is as sudden as a `kill -9`.
pub(crate) struct FakeCoordinator {
    socket: PathBuf,
    calls: mpsc::UnboundedReceiver<Call>,
    others: Others,
    valid: Valid,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl FakeCoordinator {
    /// Listens on `socket`, from now on.
    pub(crate) fn start(socket: &Path) -> Self {
        let (call, calls) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let (others, valid) = (Others::default(), Valid::default());
        let service = Service {
            calls: call,
            others: others.clone(),
            valid: valid.clone(),
        };
        let listener = std::os::unix::net::UnixListener::bind(socket).expect("a free socket");
        listener.set_nonblocking(true).expect("a socket");
        let thread = std::thread::spawn(move || {
            let runtime = runtime();
            runtime.block_on(async {
                let listener = UnixListener::from_std(listener).expect("a listener");
                let service = CoordinatorServer::new(service);
                let server = tonic::transport::Server::builder()
                    .add_service(service)
                    .serve_with_incoming(UnixListenerStream::new(listener));
                tokio::select! {
                    served = server => served.expect("a server"),
                    _ = stopped => {}
                }
            });
            // With the runtime all connections end, in the middle of whatever.
        });
        Self {
            socket: socket.to_owned(),
            calls,
            others,
            valid,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Answers from now on that these paths are valid, and no others.
    pub(crate) fn knows(&self, valid: &[String]) {
        *self.valid.lock().expect("no panic") = Some(valid.to_vec());
    }

    /// Has another session's build made `info` on `machine`.
    pub(crate) fn holds(&self, info: &PathInfo, machine: &str) {
        let info = Some(api::PathInfo::from_value(&StoreDir::default(), info));
        let machine = machine.to_owned();
        let output = api::FoundOutput { info, machine };
        self.others.lock().expect("no panic").push(output);
    }

    /// The next `Build`.
    pub(crate) async fn build(&mut self) -> BuildCall {
        match bounded(self.calls.recv()).await {
            Some(Call::Build(call)) => call,
            _ => panic!("the session asks for something else than a build"),
        }
    }

    /// The next `ReadNar`, which `client` has asked for.
    pub(crate) async fn nar_while(&mut self, client: &mut Client) -> NarCall {
        tokio::select! {
            call = self.nar() => call,
            event = client.connection.event() => panic!("answered: {event:?}"),
        }
    }

    /// The next `Build`, which `client` has asked for.
    pub(crate) async fn build_while(&mut self, client: &mut Client) -> BuildCall {
        tokio::select! {
            call = self.build() => call,
            event = client.connection.event() => panic!("answered: {event:?}"),
        }
    }

    /// The next `Realise`, which `client` has asked for.
    pub(crate) async fn realise_while(&mut self, client: &mut Client) -> RealiseCall {
        let call = async {
            match bounded(self.calls.recv()).await {
                Some(Call::Realise(call)) => call,
                _ => panic!("the session asks for something else than a graph"),
            }
        };
        tokio::pin!(call);
        loop {
            let event = tokio::select! {
                call = &mut call => return call,
                event = client.connection.event() => event,
            };
            match event {
                // The home store, which is asked first.
                Ok(ClientEvent::Message(message)) => client.heard.push(message),
                other => panic!("answered: {other:?}"),
            }
        }
    }

    /// The next `ReadNar`.
    pub(crate) async fn nar(&mut self) -> NarCall {
        match bounded(self.calls.recv()).await {
            Some(Call::Nar(call)) => call,
            _ => panic!("the session asks for something else than a NAR"),
        }
    }
}

impl Drop for FakeCoordinator {
    fn drop(&mut self) {
        let _ = self.stop.take().map(|stop| stop.send(()));
        let _ = self.thread.take().map(JoinHandle::join);
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// A runtime for one thread.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// What `work` comes to, which must not take for ever.
pub(crate) async fn bounded<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(BOUND, work)
        .await
        .expect("within the bound")
}
