//! A nix-daemon that does what the test says, on a socket of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use musher_protocol::types::{BuildResult, BuildStatus, PathInfo};
use musher_protocol::worker::{
    BodyItem, Field, Message, RemoteError, Request, Response, ResultKind, ServerConfig,
    ServerEvent, ServerSession, Trust,
};
use nix_derivation::{DerivedPath, StoreDir, StorePath};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::nar;

/// What comes of a build.
#[derive(Clone)]
pub(crate) struct Script {
    /// What the build program says.
    pub(crate) log: Vec<&'static str>,
    /// How it ends; never, if there is none.
    pub(crate) result: Option<BuildResult>,
    /// What is valid then.
    pub(crate) outputs: Vec<PathInfo>,
}

impl Script {
    /// A build that makes these outputs.
    pub(crate) fn makes(outputs: Vec<PathInfo>) -> Self {
        Self {
            log: Vec::new(),
            result: Some(BuildResult::new(BuildStatus::Built, "")),
            outputs,
        }
    }
}

/// A nix-daemon, until it is dropped.
pub(crate) struct NixDaemon {
    pub(crate) socket: PathBuf,
    state: Arc<Mutex<State>>,
    open: watch::Receiver<usize>,
    _dir: tempfile::TempDir,
    listening: AbortHandle,
}

struct State {
    trust: Trust,
    valid: BTreeMap<StorePath, PathInfo>,
    builds: BTreeMap<StorePath, Script>,
    /// The outputs that are known of derivations that do not name them.
    realised: BTreeMap<StorePath, StorePath>,
    /// What it was asked, a line a question or a row of like ones.
    asked: Vec<String>,
    connections: usize,
    withholds: bool,
    loses_uploads: bool,
    refuses_builds: bool,
    /// Changes when every connection is to be closed.
    generation: watch::Sender<u64>,
}

impl Drop for NixDaemon {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl NixDaemon {
    /// A daemon whose store holds `valid`.
    pub(crate) fn start(trust: Trust, valid: Vec<PathInfo>) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let socket = dir.path().join("socket");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let valid = valid.into_iter().map(|info| (info.path.clone(), info));
        let state = Arc::new(Mutex::new(State {
            trust,
            valid: valid.collect(),
            builds: BTreeMap::new(),
            realised: BTreeMap::new(),
            asked: Vec::new(),
            connections: 0,
            withholds: false,
            loses_uploads: false,
            refuses_builds: false,
            generation: watch::Sender::new(0),
        }));
        let (count, open) = watch::channel(0);
        let listening = tokio::spawn(listen(listener, state.clone(), count));
        Self {
            socket,
            state,
            open,
            _dir: dir,
            listening: listening.abort_handle(),
        }
    }

    /// What comes of building `drv`.
    pub(crate) fn script(&self, drv: StorePath, script: Script) {
        self.state().builds.insert(drv, script);
    }

    /// It knows that the output of `drv` is `out`.
    pub(crate) fn realised(&self, drv: StorePath, out: StorePath) {
        self.state().realised.insert(drv, out);
    }

    /// Answers are kept back from now on until a NAR was asked for: nothing
    /// comes of whoever waits for one earlier.
    pub(crate) fn withholds(&self) {
        self.state().withholds = true;
    }

    /// Whatever is added is not there afterwards.
    pub(crate) fn loses_uploads(&self) {
        self.state().loses_uploads = true;
    }

    /// It begins no build.
    pub(crate) fn refuses_builds(&self) {
        self.state().refuses_builds = true;
    }

    /// Closes every connection, as if it were restarted.
    pub(crate) async fn hangs_up(&self) {
        self.state()
            .generation
            .send_modify(|generation| *generation += 1);
        self.until_open(0).await;
    }

    /// What it was asked since the last call.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state().asked)
    }

    /// How many connections there ever were.
    pub(crate) fn connections(&self) -> usize {
        self.state().connections
    }

    /// How many connections are open.
    pub(crate) fn open(&self) -> usize {
        *self.open.borrow()
    }

    /// Waits until this many connections are open.
    pub(crate) async fn until_open(&self, count: usize) {
        let mut open = self.open.clone();
        open.wait_for(|open| *open == count)
            .await
            .expect("it listens");
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn listen(listener: UnixListener, state: Arc<Mutex<State>>, count: watch::Sender<usize>) {
    while let Ok((stream, _)) = listener.accept().await {
        lock(&state).connections += 1;
        count.send_modify(|count| *count += 1);
        let (state, count) = (state.clone(), count.clone());
        let mut generation = lock(&state).generation.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                // A client that hangs up in the middle of something is no news.
                _ = Connection::new(stream, state).serve() => {}
                _ = generation.changed() => {}
            }
            count.send_modify(|count| *count -= 1);
        });
    }
}

struct Connection {
    stream: UnixStream,
    session: ServerSession,
    state: Arc<Mutex<State>>,
    uploads: Vec<PathInfo>,
    greeted: bool,
    unsent: Vec<u8>,
    over: bool,
}

impl Connection {
    fn new(stream: UnixStream, state: Arc<Mutex<State>>) -> Self {
        let mut config = ServerConfig::new(StoreDir::default(), "2.0-test");
        config.trust = Some(lock(&state).trust);
        Self {
            stream,
            session: ServerSession::new(config),
            state,
            uploads: Vec::new(),
            greeted: false,
            unsent: Vec::new(),
            over: false,
        }
    }

    async fn serve(mut self) -> std::io::Result<()> {
        let mut bytes = vec![0; 4096];
        loop {
            while let Some(event) = self.session.next_event() {
                match event {
                    Ok(ServerEvent::Ready(_)) => {}
                    Ok(ServerEvent::Request(request)) => {
                        self.greeted = true;
                        self.request(request);
                    }
                    Ok(ServerEvent::Body(item)) => self.body(item),
                    Ok(ServerEvent::Closed) | Err(_) => self.over = true,
                }
                let output = self.session.take_output();
                self.unsent.extend_from_slice(&output);
            }
            let output = self.session.take_output();
            self.unsent.extend_from_slice(&output);
            if !(self.greeted && lock(&self.state).withholds) {
                let unsent = std::mem::take(&mut self.unsent);
                self.stream.write_all(&unsent).await?;
            }
            if self.over {
                return Ok(());
            }
            match self.stream.read(&mut bytes).await? {
                0 => return Ok(()),
                count => self.session.receive(&bytes[..count]),
            }
        }
    }

    fn reply(&mut self, response: &Response) {
        self.session.reply(response).expect("a request to answer");
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "what a test does not expect is an error, whatever it is"
    )]
    fn request(&mut self, request: Request) {
        let state = self.state.clone();
        let mut state = lock(&state);
        match request {
            Request::AddTempRoot(path) => {
                state.note("keep", path.name());
                self.reply(&Response::Unit);
            }
            Request::QueryDerivationOutputMap(drv) => {
                state.note("outputs?", drv.name());
                let out = state.realised.get(&drv).cloned();
                let map = BTreeMap::from([("out".to_owned(), out)]);
                self.reply(&Response::OutputMap(map));
            }
            Request::QueryValidPaths { paths, substitute } => {
                let question = match substitute {
                    true => "valid or substitutable?",
                    false => "valid?",
                };
                let valid: BTreeSet<_> = (paths.iter())
                    .filter(|path| state.valid.contains_key(*path))
                    .cloned()
                    .collect();
                for path in &paths {
                    state.note(question, path.name());
                }
                self.reply(&Response::Paths(valid));
            }
            Request::AddMultipleToStore {
                dont_check_sigs, ..
            } => {
                let verb = match dont_check_sigs {
                    true => "add unsigned",
                    false => "add",
                };
                state.asked.push(verb.to_owned());
            }
            Request::QueryPathInfo(path) => {
                state.note("info", path.name());
                let info = state.valid.get(&path).cloned();
                self.reply(&Response::PathInfo(info));
            }
            Request::NarFromPath(path) => {
                state.note("nar", path.name());
                state.withholds = false;
                if state.valid.contains_key(&path) {
                    self.reply(&Response::Nar);
                    self.session.nar(&nar(path.name())).expect("a NAR");
                } else {
                    let error = RemoteError::new("the path is not valid");
                    self.session.fail(&error).expect("a request to fail");
                    self.over = true;
                }
            }
            Request::BuildDerivation {
                drv_path,
                derivation,
                ..
            } => {
                state.note("build", drv_path.name());
                if state.refuses_builds {
                    let error = RemoteError::new("you may not");
                    self.session.fail(&error).expect("a request to fail");
                    return;
                }
                let mut inputs = derivation.input_sources.iter();
                let result = match inputs.find(|path| !state.valid.contains_key(*path)) {
                    Some(_) => {
                        let text = "some inputs are not valid";
                        Some(BuildResult::new(BuildStatus::MiscFailure, text))
                    }
                    None => self.build(&mut state, &drv_path),
                };
                if let Some(result) = result {
                    self.reply(&Response::BuildResult(result));
                }
            }
            Request::BuildPathsWithResults { paths, .. } => {
                let [path @ DerivedPath::Built { drv_path, outputs }] = &*paths else {
                    panic!("expected one derivation, found {paths:?}");
                };
                assert!(outputs.is_empty(), "all outputs are wanted");
                let drv_path = drv_path.base().clone();
                state.note("realise", drv_path.name());
                if let Some(result) = self.build(&mut state, &drv_path) {
                    let results = vec![(path.clone(), result)];
                    self.reply(&Response::KeyedBuildResults(results));
                }
            }
            other => panic!("unexpected request {other:?}"),
        }
    }

    fn build(&mut self, state: &mut State, drv: &StorePath) -> Option<BuildResult> {
        let script = state.builds.get(drv).cloned().expect("a script");
        for line in script.log {
            let (kind, text) = match line.strip_prefix("phase ") {
                Some(phase) => (ResultKind::SET_PHASE, phase),
                None => (ResultKind::BUILD_LOG_LINE, line),
            };
            let fields = vec![Field::Text(text.into())];
            let message = Message::Result {
                id: 1,
                kind,
                fields,
            };
            self.session.message(&message).expect("a request");
        }
        let outputs = script.outputs.into_iter();
        (state.valid).extend(outputs.map(|info| (info.path.clone(), info)));
        script.result
    }

    fn body(&mut self, item: BodyItem) {
        match item {
            BodyItem::Path(info) => self.uploads.push(info),
            BodyItem::Chunk(_) => {}
            BodyItem::End => {
                let state = self.state.clone();
                let mut state = lock(&state);
                for info in std::mem::take(&mut self.uploads) {
                    let known = |path| state.valid.contains_key(path) || *path == info.path;
                    assert!(info.references.iter().all(known), "references come first");
                    let last = state.asked.last_mut().expect("the request");
                    *last = format!("{last} {}", info.path.name());
                    if !state.loses_uploads {
                        state.valid.insert(info.path.clone(), info);
                    }
                }
                self.reply(&Response::Unit);
            }
        }
    }
}

impl State {
    /// Like questions in a row make one line.
    fn note(&mut self, verb: &str, name: &str) {
        match self.asked.last_mut() {
            Some(last) if last.starts_with(&format!("{verb} ")) => {
                *last = format!("{last} {name}");
            }
            _ => self.asked.push(format!("{verb} {name}")),
        }
    }
}
