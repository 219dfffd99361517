//! One client's session of the worker protocol: takes its requests one by one
//! and has each answered by whom [`route`] says.

mod build;
mod fetch;
mod inputs;
mod nar;
mod realise;

use std::collections::BTreeSet;

use musher_api::coordinator as api;
use musher_protocol::worker::{
    BodyItem, RemoteError, Request, Response, ServerConfig, ServerEvent, ServerSession, Trust,
};
use nix_derivation::{StoreDir, StorePath};
use tracing::debug;

use crate::client::{Client, NarAnswer};
use crate::client_process::ClientProcess;
use crate::coordinator::Coordinator;
use crate::error::{ServeError, home_error};
use crate::home::{Home, offered_features, offered_version};
use crate::limits::{How, limits};
use crate::outputs::Outputs;
use crate::relay::{Relay, RelayError};
use crate::restrain::restrain_info;
use crate::route::{Rights, Route, route};
use crate::stdio::{Input, Output};
use crate::story::ActivityIds;
use crate::wire::{Wire, unless_gone};
use crate::{Entrance, SessionConfig};

pub(crate) use realise::Tell;

/// Requests to the home store that are made before the first is answered.
const PIPELINED: usize = 256;

/// What this says it is where a Nix version is asked for.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (musher)");

/// One client's session.
pub(crate) struct Session {
    client: Client,
    home: Home,
    coordinator: Coordinator,
    outputs: Outputs,
    /// Whether the coordinator has the rights of this session, and may be
    /// asked what is valid.
    by_coordinator: bool,
    rights: Rights,
    limits: api::Limits,
    /// What of the client's settings says how to build.
    how: How,
    ids: ActivityIds,
    store_dir: StoreDir,
    /// Who has us build one derivation after the other.
    process: Option<ClientProcess>,
}

impl Session {
    /// A session that knows how far to trust its client, and has not heard
    /// from it.
    ///
    /// Stock Nix starts no other build until it has shaken hands here. A build
    /// hook on this host has the home store's own Nix, so that there is nothing
    /// to ask the home store before; for others it says what they may be offered.
    pub(crate) async fn open(
        config: SessionConfig,
        input: Input,
        output: Output,
    ) -> Result<Self, ServeError> {
        // Root's questions the coordinator can answer as well, and nothing else
        // is asked during most builds; a nix-daemon forks for each connection.
        let at_hook = config.entrance == Entrance::Hook;
        let by_coordinator = at_hook
            && !config.remote
            && config.trust.is_none()
            && rustix::process::geteuid().is_root();
        let mut home = match by_coordinator {
            true => Home::new(config.home),
            false => Home::connect_to(config.home),
        };
        let home_trust = home.trust().await.map_err(ServeError::Home)?;
        let trust = config.trust.unwrap_or(home_trust);
        let trusted = trust == Trust::Trusted;
        let store_dir = home.store_dir().clone();
        let mut server = ServerConfig::new(store_dir.clone(), VERSION);
        if config.remote || !at_hook {
            let negotiated = home.negotiated().await.map_err(ServeError::Home)?;
            server.max_version = offered_version(&negotiated);
            server.features = offered_features(&negotiated);
        }
        server.trust = Some(trust);
        Ok(Self {
            client: Wire::new(ServerSession::new(server), input, output),
            home,
            coordinator: match config.start_coordinator {
                None => Coordinator::connect_to(config.control_socket),
                start => Coordinator::on_demand(config.control_socket, start),
            },
            by_coordinator,
            outputs: Outputs::default(),
            rights: Rights {
                trusted,
                restrained: !trusted && home_trust == Trust::Trusted,
                rooted: config.remote,
                own_home: config.own_home,
                store_entrance: !at_hook,
            },
            limits: api::Limits::default(),
            how: How::default(),
            ids: ActivityIds::new(std::process::id()),
            process: match at_hook && !config.remote {
                true => ClientProcess::behind_build_hook(),
                false => None,
            },
            store_dir,
        })
    }

    /// The directory of all paths.
    pub(crate) fn store_dir(&self) -> &StoreDir {
        &self.store_dir
    }

    /// Serves the client until it leaves.
    pub(crate) async fn run(mut self) -> Result<(), ServeError> {
        loop {
            match self.client.event().await? {
                ServerEvent::Ready(negotiated) => {
                    debug!(version = %negotiated.version, "the client is there");
                }
                ServerEvent::Request(request) => {
                    debug!(op = ?request.op(), "request");
                    self.serve(request).await?;
                }
                // The rest of what was refused.
                ServerEvent::Body(_) => {}
                ServerEvent::Closed => return Ok(self.client.flush().await?),
            }
        }
    }

    async fn serve(&mut self, request: Request) -> Result<(), ServeError> {
        match route(request, self.rights, &self.outputs, &self.store_dir) {
            Route::Refuse(error) => self.client.fail(&error),
            Route::Answer(response) => self.client.reply(&response),
            Route::Home(Request::QueryPathInfo(path)) => self.path_info(path).await?,
            Route::Home(Request::IsValidPath(path)) => self.is_valid(path).await?,
            Route::Home(Request::AddMultipleToStore { count: 0, .. }) => self.nothing().await?,
            Route::Home(request) => self.pass(request).await?,
            Route::HomeNar(path) => self.home_nar(path).await?,
            Route::Options(options) => {
                self.limits = limits(&options);
                self.how = How::of(&options);
                self.home.remember(options.clone());
                self.pass(Request::SetOptions(options)).await?;
            }
            Route::ValidPaths {
                ask,
                known,
                substitute,
            } => self.valid_paths(ask, known, substitute).await?,
            Route::Build {
                drv_path,
                derivation,
                mode,
            } => self.build(drv_path, &derivation, mode).await?,
            Route::Realise { wanted, mode, tell } => self.realise(wanted, mode, tell).await?,
            Route::Nar(path) => self.output_nar(&path).await?,
        }
        Ok(())
    }

    /// Takes an upload of no paths, with which stock Nix begins most builds.
    async fn nothing(&mut self) -> Result<(), ServeError> {
        loop {
            match self.client.event().await? {
                ServerEvent::Body(BodyItem::End) => {
                    self.client.reply(&Response::Unit);
                    return Ok(());
                }
                ServerEvent::Closed => return Err(ServeError::HungUp),
                ServerEvent::Ready(_) | ServerEvent::Request(_) | ServerEvent::Body(_) => {}
            }
        }
    }

    /// Has the home store answer `request`.
    async fn pass(&mut self, request: Request) -> Result<(), ServeError> {
        let passed = async |mut relay: Relay<'_>| relay.pass(request).await;
        if let Err(error) = self.relay(passed).await? {
            self.client.fail(&error);
        }
        Ok(())
    }

    /// What the home store knows of `path`, or else the session that built it.
    async fn path_info(&mut self, path: StorePath) -> Result<(), ServeError> {
        let mut answer = self.ask(vec![Request::QueryPathInfo(path.clone())]).await?;
        if answer == Ok(Response::PathInfo(None)) {
            answer = Ok(Response::PathInfo(self.other_output(&path).await?));
        }
        self.answer(answer);
        Ok(())
    }

    /// Whether the home store has `path`, or the session that built it.
    async fn is_valid(&mut self, path: StorePath) -> Result<(), ServeError> {
        let mut answer = self.ask(vec![Request::IsValidPath(path.clone())]).await?;
        if answer == Ok(Response::Bool(false)) {
            answer = Ok(Response::Bool(self.other_output(&path).await?.is_some()));
        }
        self.answer(answer);
        Ok(())
    }

    fn answer(&mut self, answer: Result<Response, RemoteError>) {
        match answer {
            Ok(response) => self.client.reply(&response),
            Err(error) => self.client.fail(&error),
        }
    }

    /// Sends the NAR of a path in the home store. Of a path that it has not, a
    /// nix-daemon sends the beginning of a NAR before it gives up: it is asked
    /// first.
    async fn home_nar(&mut self, path: StorePath) -> Result<(), ServeError> {
        let name = self.store_dir.render_path(&path);
        let valid = self.ask(vec![Request::IsValidPath(path.clone())]).await?;
        if valid == Ok(Response::Bool(false)) {
            if self.other_output(&path).await?.is_some() {
                return self.output_nar(&path).await;
            }
            let error = RemoteError::new(format!("path '{name}' is not valid"));
            self.client.fail(&error);
            return Ok(());
        }
        let nar = NarAnswer::new(name);
        let request = Request::NarFromPath(path);
        let passed = async |mut relay: Relay<'_>| relay.nar(request, nar).await;
        if let Err(error) = self.relay(passed).await? {
            self.client.fail(&error);
        }
        Ok(())
    }

    /// Which of `ask` are valid in the home store, and `known`.
    async fn valid_paths(
        &mut self,
        ask: BTreeSet<StorePath>,
        known: BTreeSet<StorePath>,
        substitute: bool,
    ) -> Result<(), ServeError> {
        if ask.is_empty() {
            self.client.reply(&Response::Paths(known));
            return Ok(());
        }
        if let Some(mut valid) = self.valid_by_coordinator(&ask).await? {
            valid.extend(known);
            self.client.reply(&Response::Paths(valid));
            return Ok(());
        }
        let request = Request::QueryValidPaths {
            paths: ask,
            substitute,
        };
        match self.ask(vec![request]).await? {
            Ok(Response::Paths(mut valid)) => {
                if self.rights.rooted {
                    self.root(&valid).await?;
                }
                valid.extend(known);
                self.client.reply(&Response::Paths(valid));
            }
            Ok(other) => self.client.fail(&unexpected(&other)),
            Err(error) => self.client.fail(&error),
        }
        Ok(())
    }

    /// Which of `paths` are valid in the home store, in the coordinator's words,
    /// if it may be asked and answers.
    async fn valid_by_coordinator(
        &mut self,
        paths: &BTreeSet<StorePath>,
    ) -> Result<Option<BTreeSet<StorePath>>, ServeError> {
        if !self.by_coordinator {
            return Ok(None);
        }
        let names = paths.iter().map(|path| self.store_dir.render_path(path));
        let valid = self.coordinator.valid_paths(names.collect());
        let Some(valid) = unless_gone(&mut self.client, valid).await? else {
            return Ok(None);
        };
        let valid = valid
            .iter()
            .map(|name| self.store_dir.parse_path(name.as_bytes()));
        // What cannot be read is not among those that were asked for.
        let valid = valid.flatten().filter(|path| paths.contains(path));
        Ok(Some(valid.collect()))
    }

    /// Keeps `paths` from the home store's garbage collector while this session
    /// lives.
    async fn root(&mut self, paths: &BTreeSet<StorePath>) -> Result<(), ServeError> {
        let paths: Vec<_> = paths.iter().cloned().collect();
        for some in paths.chunks(PIPELINED) {
            let requests = some.iter().cloned().map(Request::AddTempRoot).collect();
            if let Err(error) = self.ask(requests).await? {
                // The paths are there now, which is what was asked.
                debug!(error = %error.message, "cannot keep paths for the client");
                return Ok(());
            }
        }
        Ok(())
    }

    async fn ask(
        &mut self,
        requests: Vec<Request>,
    ) -> Result<Result<Response, RemoteError>, ServeError> {
        let asked = async |mut relay: Relay<'_>| relay.ask(requests).await;
        Ok(self.relay(asked).await?.and_then(|outcome| outcome))
    }

    /// Does `work` with the home store. If that breaks the connection, the
    /// next request makes a new one.
    async fn relay<T>(
        &mut self,
        work: impl AsyncFnOnce(Relay<'_>) -> Result<T, RelayError>,
    ) -> Result<Result<T, RemoteError>, ServeError> {
        let connected = unless_gone(&mut self.client, self.home.connection()).await?;
        let error = match connected {
            Ok(home) => {
                let relay = Relay {
                    client: &mut self.client,
                    home,
                    restrain: match self.rights.restrained {
                        true => restrain_info,
                        false => |_| (),
                    },
                };
                match work(relay).await {
                    Ok(done) => return Ok(Ok(done)),
                    Err(RelayError::Session(error)) => return Err(error),
                    Err(RelayError::Home(error)) => error,
                }
            }
            Err(error) => error,
        };
        self.home.disconnect();
        Ok(Err(home_error(error)))
    }
}

fn unexpected(response: &Response) -> RemoteError {
    RemoteError::new(format!(
        "the home store answered something else: {response:?}"
    ))
}
