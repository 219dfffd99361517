//! The serve protocol in terms of the worker protocol: a client of `ssh://` is
//! served by a session like all others, which hears from it through this. What
//! the serve protocol has no words for, errors and logs, goes to standard
//! error. Knows neither stores nor builders.

mod ask;
mod closure;
mod import;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;

use musher_protocol::serve::{
    BodyItem, BuildFailure, BuildOptions, Config, Request, Response, ServerEvent, ServerSession,
};
use musher_protocol::types::{BasicDerivation, BuildMode, BuildStatus, PathInfo, Text};
use musher_protocol::worker::{self, ClientConfig, ClientEvent, Options};
use musher_store::WorkerConnection;
use musher_store::transport::Transport;
use nix_derivation::{DerivedPath, SingleDerivedPath, StoreDir, StorePath};
use tokio::io::Stderr;
use tokio::net::UnixStream;
use tracing::debug;

use ask::{failed, lost, odd};

use crate::error::{ServeError, chain};

use crate::stdio::{Input, Output};
use crate::wire::Wire;

/// A client of the serve protocol, and the session that serves it.
pub(crate) struct Translator {
    client: Wire<ServerSession>,
    session: WorkerConnection,
    log: Stderr,
    store_dir: StoreDir,
}

impl Translator {
    /// Connects to the session at the other end of `session`. The client has
    /// not been heard yet.
    pub(crate) async fn open(
        store_dir: StoreDir,
        session: UnixStream,
        input: Input,
        output: Output,
    ) -> Result<Self, ServeError> {
        let transport = Transport::stream(session, "the session".to_owned());
        let mut config = ClientConfig::new(store_dir.clone());
        // Most clients know derivations by their hash, which the session would
        // leave out of the results otherwise.
        config.features = BTreeSet::new();
        let session = WorkerConnection::open(transport, config).await;
        Ok(Self {
            client: Wire::new(
                ServerSession::new(Config::new(store_dir.clone())),
                input,
                output,
            ),
            session: session.map_err(|error| lost(&error))?,
            log: tokio::io::stderr(),
            store_dir,
        })
    }

    /// Serves the client until it leaves.
    pub(crate) async fn run(mut self) -> Result<(), ServeError> {
        loop {
            match self.client.event().await? {
                ServerEvent::Ready(negotiated) => {
                    debug!(?negotiated, "the client is there");
                }
                ServerEvent::Request(request) => {
                    debug!(command = %request.command(), "request");
                    self.serve(request).await?;
                }
                ServerEvent::Body(_) => {}
                ServerEvent::Closed => return Ok(self.client.flush().await?),
            }
        }
    }

    async fn serve(&mut self, request: Request) -> Result<(), ServeError> {
        let response = match request {
            Request::QueryValidPaths {
                lock,
                substitute,
                paths,
            } => Response::ValidPaths(self.valid_paths(paths, substitute, lock).await?),
            Request::QueryPathInfos { paths } => {
                let paths = paths.into_iter().collect();
                let infos = self.path_infos(paths).await?;
                Response::PathInfos(infos.into_iter().flatten().collect())
            }
            Request::DumpStorePath { path } => return self.dump(path).await,
            Request::ImportPaths => {
                self.import().await?;
                Response::Imported(true)
            }
            Request::BuildPaths { paths, options } => {
                Response::PathsBuilt(self.build_paths(&paths, options).await?)
            }
            Request::QueryClosure {
                include_outputs,
                paths,
            } => Response::Closure(self.closure(paths, include_outputs).await?),
            Request::BuildDerivation {
                drv_path,
                derivation,
                options,
            } => self.build(drv_path, derivation, options).await?,
            Request::AddToStoreNar { info } => {
                self.add(info).await?;
                Response::Added(true)
            }
        };
        self.reply(&response);
        Ok(())
    }

    async fn valid_paths(
        &mut self,
        paths: BTreeSet<StorePath>,
        substitute: bool,
        lock: bool,
    ) -> Result<BTreeSet<StorePath>, ServeError> {
        let request = worker::Request::QueryValidPaths { paths, substitute };
        let answer = self.ask(request).await?;
        let worker::Response::Paths(valid) = answer else {
            return Err(odd(&answer));
        };
        if lock {
            let roots = valid.iter().cloned().map(worker::Request::AddTempRoot);
            self.ask_all(roots.collect()).await?;
        }
        Ok(valid)
    }

    /// What is known of each of `paths`, if it is valid.
    async fn path_infos(
        &mut self,
        paths: Vec<StorePath>,
    ) -> Result<Vec<Option<PathInfo>>, ServeError> {
        let requests = paths.into_iter().map(worker::Request::QueryPathInfo);
        let answers = self.ask_all(requests.collect()).await?;
        let info = |answer| {
            let worker::Response::PathInfo(info) = answer else {
                return Err(odd(&answer));
            };
            Ok(info)
        };
        answers.into_iter().map(info).collect()
    }

    async fn dump(&mut self, path: StorePath) -> Result<(), ServeError> {
        let name = self.store_dir.render_path(&path);
        self.request(worker::Request::NarFromPath(path))?;
        let mut begun = false;
        loop {
            match self.event().await? {
                ClientEvent::Nar(bytes) => {
                    if !begun {
                        begun = true;
                        self.reply(&Response::Nar);
                    }
                    let sent = self.client.session.nar(&bytes);
                    sent.map_err(|error| ServeError::NarCut {
                        path: name.clone(),
                        reason: chain(&error),
                    })?;
                    self.client.flush().await?;
                }
                ClientEvent::Reply(_) => return Ok(()),
                ClientEvent::Failed(error) => return Err(failed(&error)),
                ClientEvent::Message(message) => self.hear(message).await?,
                other @ (ClientEvent::Ready(_) | ClientEvent::Refused(_)) => {
                    return Err(odd(&other));
                }
            }
        }
    }

    /// Adds a path whose NAR follows.
    async fn add(&mut self, info: PathInfo) -> Result<(), ServeError> {
        self.request(add_request(info))?;
        loop {
            let item = match self.body().await? {
                BodyItem::Chunk(bytes) => worker::BodyItem::Chunk(bytes),
                BodyItem::End => break,
                BodyItem::Path(_) => continue,
            };
            self.upload(item).await?;
        }
        self.upload(worker::BodyItem::End).await?;
        self.answer().await.map(|_| ())
    }

    async fn build_paths(
        &mut self,
        paths: &[String],
        options: BuildOptions,
    ) -> Result<Result<(), BuildFailure>, ServeError> {
        self.set_options(options).await?;
        let mut wanted = Vec::new();
        for path in paths {
            let path = derived_path(&self.store_dir, path).map_err(ServeError::Failed)?;
            wanted.push(path);
        }
        self.request(worker::Request::BuildPaths {
            paths: wanted,
            mode: BuildMode::Normal,
        })?;
        Ok(match self.outcome().await? {
            Ok(_) => Ok(()),
            // A client takes the number for a build status.
            Err(error) => Err(BuildFailure {
                status: const { NonZeroU64::new(BuildStatus::MiscFailure as u64).unwrap() },
                message: error.message,
            }),
        })
    }

    async fn build(
        &mut self,
        drv_path: StorePath,
        derivation: BasicDerivation,
        options: BuildOptions,
    ) -> Result<Response, ServeError> {
        self.set_options(options).await?;
        let request = worker::Request::BuildDerivation {
            drv_path,
            derivation,
            mode: BuildMode::Normal,
        };
        let answer = self.ask(request).await?;
        let worker::Response::BuildResult(result) = answer else {
            return Err(odd(&answer));
        };
        Ok(Response::Built(result))
    }

    async fn set_options(&mut self, options: BuildOptions) -> Result<(), ServeError> {
        let overrides = [
            ("timeout", options.timeout),
            ("max-build-log-size", options.max_log_size),
        ];
        let overrides: BTreeMap<_, _> = overrides
            .into_iter()
            .filter(|(_, limit)| *limit > 0)
            .map(|(name, limit)| (name.to_owned(), Text::from(limit.to_string())))
            .collect();
        let request = worker::Request::SetOptions(Options {
            keep_failed: options.keep_failed,
            max_silent_time: options.max_silent,
            overrides,
            ..Options::default()
        });
        self.ask(request).await.map(|_| ())
    }

    /// The next piece of the request's body.
    async fn body(&mut self) -> Result<BodyItem, ServeError> {
        match self.client.event().await? {
            ServerEvent::Body(item) => Ok(item),
            ServerEvent::Ready(_) | ServerEvent::Request(_) | ServerEvent::Closed => {
                Err(ServeError::HungUp)
            }
        }
    }

    fn reply(&mut self, response: &Response) {
        let replied = self.client.session.reply(response);
        debug_assert!(replied.is_ok(), "bug: an answer without a request");
    }
}

/// The request to add a path. It is signed or content-addressed, or its sender
/// is trusted: the session sees to that.
fn add_request(info: PathInfo) -> worker::Request {
    worker::Request::AddToStoreNar {
        info,
        repair: false,
        dont_check_sigs: true,
    }
}

/// A path, or outputs of a derivation. A derivation alone stands for all of its
/// outputs.
fn derived_path(store_dir: &StoreDir, text: &str) -> Result<DerivedPath, String> {
    let path = DerivedPath::parse_legacy_in(store_dir, text);
    Ok(
        match path.map_err(|error| format!("bad path `{text}`: {error}"))? {
            DerivedPath::Opaque(path) if path.is_derivation() => DerivedPath::Built {
                drv_path: SingleDerivedPath::Opaque(path),
                outputs: Vec::new(),
            },
            path @ (DerivedPath::Opaque(_) | DerivedPath::Built { .. }) => path,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_derivation_stands_for_its_outputs() {
        let drv = "/nix/store/ygbf27cfrcas4sjpplmlyc6bfvi6vk8m-hello.drv";
        let store_dir = StoreDir::default();
        let render = |text: &str| {
            let path = derived_path(&store_dir, text)?;
            Ok::<_, String>(path.render_legacy(&store_dir))
        };
        assert_eq!(render(drv), Ok(format!("{drv}!*")));
        assert_eq!(
            render(&format!("{drv}!dev,out")),
            Ok(format!("{drv}!dev,out"))
        );
        assert!(render("hello").is_err());
    }
}
