//! A `nix-store --serve` that does what the test says, on a socket of its own.
//! It has no standard error, so that nothing is logged.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use musher_protocol::serve::{
    BodyItem, BuildFailure, Config, Request, Response, ServerEvent, ServerSession,
};
use musher_protocol::types::{BuildResult, BuildStatus, PathInfo};
use nix_derivation::{StoreDir, StorePath};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::AbortHandle;

use super::nar;

/// A `nix-store --serve` for each connection, until it is dropped.
pub(crate) struct NixStore {
    pub(crate) socket: PathBuf,
    state: Arc<Mutex<State>>,
    _dir: tempfile::TempDir,
    listening: AbortHandle,
}

struct State {
    valid: BTreeMap<StorePath, PathInfo>,
    /// What a build makes, or the exit status it fails with.
    build: Result<Vec<PathInfo>, u64>,
    asked: Vec<String>,
    connections: usize,
    withholds: bool,
}

impl Drop for NixStore {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl NixStore {
    /// A store that holds `valid`, and of which every build ends in `build`.
    pub(crate) fn start(valid: Vec<PathInfo>, build: Result<Vec<PathInfo>, u64>) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let socket = dir.path().join("socket");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let valid = valid.into_iter().map(|info| (info.path.clone(), info));
        let state = Arc::new(Mutex::new(State {
            valid: valid.collect(),
            build,
            asked: Vec::new(),
            connections: 0,
            withholds: false,
        }));
        let shared = state.clone();
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                lock(&shared).connections += 1;
                let state = shared.clone();
                // A client that hangs up in the middle of something is no news.
                tokio::spawn(async move { serve(stream, &state).await.ok() });
            }
        });
        Self {
            socket,
            state,
            _dir: dir,
            listening: listening.abort_handle(),
        }
    }

    /// Answers are kept back from now on until a NAR was asked for.
    pub(crate) fn withholds(&self) {
        lock(&self.state).withholds = true;
    }

    /// What it was asked since the last call.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.state).asked)
    }

    /// How many connections there ever were.
    pub(crate) fn connections(&self) -> usize {
        lock(&self.state).connections
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(mut stream: UnixStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut session = ServerSession::new(Config::new(StoreDir::default()));
    let (mut unsent, mut bytes) = (Vec::new(), vec![0; 4096]);
    let (mut greeted, mut over) = (false, false);
    let mut adding = None;
    loop {
        while let Some(event) = session.next_event() {
            match event {
                Ok(ServerEvent::Ready(_)) => {}
                Ok(ServerEvent::Request(Request::AddToStoreNar { info })) => {
                    adding = Some(info);
                }
                Ok(ServerEvent::Request(request)) => {
                    greeted = true;
                    over |= !lock(state).answer(&mut session, request);
                }
                Ok(ServerEvent::Body(BodyItem::End)) => {
                    let info = adding.take().expect("a path");
                    lock(state).add(info);
                    let added = session.reply(&Response::Added(true));
                    added.expect("a request to answer");
                }
                Ok(ServerEvent::Body(BodyItem::Chunk(_))) => {}
                Ok(ServerEvent::Body(BodyItem::Path(_))) => panic!("no import was asked for"),
                Ok(ServerEvent::Closed) | Err(_) => over = true,
            }
            unsent.extend_from_slice(&session.take_output());
        }
        unsent.extend_from_slice(&session.take_output());
        if !(greeted && lock(state).withholds) {
            stream.write_all(&std::mem::take(&mut unsent)).await?;
        }
        if over {
            return Ok(());
        }
        match stream.read(&mut bytes).await? {
            0 => return Ok(()),
            count => session.receive(&bytes[..count]),
        }
    }
}

impl State {
    /// Answers a request. Returns whether the connection goes on.
    fn answer(&mut self, session: &mut ServerSession, request: Request) -> bool {
        let response = match request {
            Request::QueryValidPaths {
                lock,
                substitute,
                paths,
            } => {
                assert!(lock, "what is needed is kept");
                let verb = if substitute {
                    "valid or substitutable?"
                } else {
                    "valid?"
                };
                self.note(verb, &paths);
                let valid = paths
                    .into_iter()
                    .filter(|path| self.valid.contains_key(path));
                Response::ValidPaths(valid.collect())
            }
            Request::QueryPathInfos { paths } => {
                self.note("info", &paths);
                let infos = paths.iter().filter_map(|path| self.valid.get(path));
                Response::PathInfos(infos.cloned().collect())
            }
            Request::DumpStorePath { path } => {
                self.withholds = false;
                self.asked.push(format!("nar {}", path.name()));
                if !self.valid.contains_key(&path) {
                    return false;
                }
                let promised = session.reply(&Response::Nar);
                promised.expect("a request to answer");
                session.nar(&nar(path.name())).expect("a NAR");
                return true;
            }
            Request::BuildPaths { paths, .. } => {
                self.asked.push(format!("realise {}", paths.join(" ")));
                Response::PathsBuilt(self.build().map_err(|status| BuildFailure {
                    status: status.try_into().expect("a failure"),
                    message: "it failed".into(),
                }))
            }
            Request::BuildDerivation { drv_path, .. } => {
                self.asked.push(format!("build {}", drv_path.name()));
                let status = match self.build() {
                    Ok(()) => BuildStatus::Built,
                    Err(_) => BuildStatus::PermanentFailure,
                };
                Response::Built(BuildResult::new(status, ""))
            }
            Request::ImportPaths | Request::QueryClosure { .. } | Request::AddToStoreNar { .. } => {
                panic!("unexpected request {request:?}")
            }
        };
        session.reply(&response).expect("a request to answer");
        true
    }

    fn build(&mut self) -> Result<(), u64> {
        let outputs = self.build.clone()?;
        let outputs = outputs.into_iter().map(|info| (info.path.clone(), info));
        self.valid.extend(outputs);
        Ok(())
    }

    fn add(&mut self, info: PathInfo) {
        let known = |path| self.valid.contains_key(path) || *path == info.path;
        assert!(info.references.iter().all(known), "references come first");
        self.asked.push(format!("add {}", info.path.name()));
        self.valid.insert(info.path.clone(), info);
    }

    fn note(&mut self, verb: &str, paths: &BTreeSet<StorePath>) {
        let names: Vec<_> = paths.iter().map(StorePath::name).collect();
        self.asked.push(format!("{verb} {}", names.join(" ")));
    }
}
