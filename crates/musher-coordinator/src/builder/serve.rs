//! A machine with stock Nix, spoken to by the serve protocol (`ssh://`).
//!
//! As with the worker protocol a build usually costs one exchange. What differs:
//! the log is the program's standard error, and nothing tells whether the
//! machine trusts us; so its nix-daemon is asked, where it has one.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use musher_protocol::serve::{BuildOptions, Request, Response};
use musher_protocol::types::{BuildMode, BuildResult, BuildStatus, PathInfo};
use musher_protocol::worker::Trust;
use musher_store::ssh::Link;
use musher_store::{
    NarStream, ServeConnection, ServeStore, Store, StoreError, WorkerStore, references_first, send,
    taken,
};
use nix_derivation::StorePath;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::keeper::{Keeper, Touch};
use super::{Builder, BuilderInfo, Fault, Outcome, ask_trust, check_inputs};
use crate::attempt::{LogSink, Order};
use crate::build::Limits;
use crate::held_outputs::HeldOutputs;

/// How long a connection may be idle. As long as it is open, paths that were
/// locked on it are kept from the machine's garbage collector.
const IDLE: Duration = Duration::from_secs(30);

/// How long to wait for the last lines of a log once the build's end is known:
/// standard error and standard output come through different pipes.
const LAST_LINES: Duration = Duration::from_millis(10);

/// A machine that speaks the serve protocol.
pub(crate) struct ServeBuilder {
    link: Link,
    store: Arc<ServeStore>,
    /// The machine's nix-daemon, to be asked whether it trusts us.
    daemon: Option<WorkerStore>,
    /// Whether the machine may fetch inputs from its own substituters.
    substitutes: bool,
    /// As it was when we last connected.
    trust: Mutex<Option<Trust>>,
    keeper: Arc<Keeper<ServeConnection>>,
}

impl ServeBuilder {
    /// The machine at the end of `link`, whose program `store` speaks to.
    pub(crate) fn new(
        link: Link,
        store: Arc<ServeStore>,
        daemon: Option<WorkerStore>,
        substitutes: bool,
    ) -> Self {
        Self {
            link,
            store,
            daemon,
            substitutes,
            trust: Mutex::new(None),
            keeper: Arc::default(),
        }
    }

    async fn ask_trust(&self) -> Option<Trust> {
        let mut connection = self.daemon.as_ref()?.open().await.ok()?;
        ask_trust(&mut connection).await.ok()
    }
}

#[async_trait]
impl Builder for ServeBuilder {
    async fn connect(&self) -> Result<BuilderInfo, StoreError> {
        self.link.connect().await.map_err(StoreError::Ssh)?;
        let connection = self.store.open().await?;
        let protocol = format!("serve {}", connection.negotiated().version);
        self.store.give_back(connection);
        let trust = self.ask_trust().await;
        *self.trust.lock().unwrap_or_else(PoisonError::into_inner) = trust;
        Ok(BuilderInfo {
            nix_version: None,
            protocol,
            trust,
        })
    }

    async fn lost(&self) -> String {
        let mut sweep = tokio::time::interval(IDLE);
        loop {
            tokio::select! {
                error = self.link.lost() => return crate::short_text(&error),
                _ = sweep.tick() => self.store.close_idle(IDLE),
            }
        }
    }

    async fn disconnect(&self) {
        self.store.close_idle(Duration::ZERO);
    }

    async fn attempt(&self, order: &Order, log: &mut LogSink) -> Result<Outcome, Fault> {
        if order.spec.mode != BuildMode::Normal {
            // The protocol has no word for it, and what was not checked must not
            // seem to have been.
            let what = "checking or repairing a build";
            return Err(StoreError::Unsupported { what }.into());
        }
        let trust = *self.trust.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = self.store.connection().await?;
        let mut attempt = Attempt {
            builder: self,
            connection,
            order,
            log,
        };
        match trust {
            Some(Trust::NotTrusted) => attempt.realise().await?,
            Some(Trust::Trusted) | None => attempt.build().await?,
        }
        .finish(attempt)
        .await
    }

    async fn read_nar(&self, path: &StorePath) -> Result<NarStream, StoreError> {
        self.store.read_nar(path).await
    }
}

/// One attempt on its connection.
struct Attempt<'a> {
    builder: &'a ServeBuilder,
    connection: ServeConnection,
    order: &'a Order,
    log: &'a mut LogSink,
}

/// A build that ended, before its outputs were looked at.
struct Built {
    result: BuildResult,
    /// Whether the NAR of the only output was asked for with the build.
    ahead: Option<StorePath>,
}

impl Attempt<'_> {
    /// As on a machine that trusts us: it takes our word for the derivation.
    async fn build(&mut self) -> Result<Built, Fault> {
        let closure = &self.order.closure;
        let inputs: BTreeSet<_> = closure.paths().cloned().collect();
        let unknown = self.order.unknown();
        let sent = self.supply(&closure.0, &unknown).await?;
        let lines = self.lines();
        self.request(&Request::QueryValidPaths {
            lock: true,
            substitute: false,
            paths: inputs.clone(),
        })?;
        self.request(&Request::BuildDerivation {
            drv_path: self.order.spec.drv_path.clone(),
            derivation: self.order.spec.derivation.clone(),
            options: options(self.order.spec.limits),
        })?;
        let known = self.known_outputs();
        self.request(&Request::QueryPathInfos {
            paths: known.values().cloned().collect(),
        })?;
        // See `worker::trusted`: only one output, or nobody knows which first.
        let only = known
            .values()
            .next()
            .filter(|_| self.order.spec.derivation.outputs.len() == 1)
            .filter(|_| self.order.spec.nar_ahead);
        if let Some(path) = only {
            self.request(&Request::DumpStorePath { path: path.clone() })?;
        }

        taken(&mut self.connection, sent).await?;
        let valid = self.valid_paths().await?;
        check_inputs(&inputs, &valid, &unknown)?;
        let answer = self.logged_answer(lines).await?;
        let Response::Built(result) = answer else {
            return Err(unexpected("a build result", &answer));
        };
        Ok(Built {
            result,
            ahead: only.cloned(),
        })
    }

    /// As on a machine that does not: see `worker::untrusted`.
    async fn realise(&mut self) -> Result<Built, Fault> {
        let home = self.order.home();
        let drv_path = self.order.spec.drv_path.clone();
        let recipe = home.closure([drv_path.clone()]).await;
        let recipe = recipe.map_err(|error| Fault::Recipe(Box::new(error)))?;
        let mut offered: BTreeMap<_, PathInfo> = BTreeMap::new();
        for info in recipe.0.iter().chain(&self.order.closure.0) {
            if info.ca.is_some() {
                offered.insert(info.path.clone(), info.clone());
            }
        }
        let offered = references_first(offered.into_values().collect());
        let paths = offered.iter().map(|info| &info.path);
        let unknown = self.order.known.unknown(paths).into_iter().collect();
        let sent = self.supply(&offered, &unknown).await?;
        let lines = self.lines();
        // A derivation alone means all its outputs here. `!*`, which does so in
        // the worker protocol, would be an output with the name `*`.
        let path = home.store_dir().render_path(&drv_path);
        let options = options(self.order.spec.limits);
        self.request(&Request::BuildPaths {
            paths: vec![path],
            options,
        })?;
        let known = self.known_outputs();
        self.request(&Request::QueryPathInfos {
            paths: known.values().cloned().collect(),
        })?;

        taken(&mut self.connection, sent).await?;
        let answer = self.logged_answer(lines).await?;
        let Response::PathsBuilt(built) = answer else {
            return Err(unexpected("whether paths were built", &answer));
        };
        let result = match built {
            Ok(()) => BuildResult::new(BuildStatus::Built, ""),
            Err(failure) => BuildResult::new(status_of(failure.status.get()), failure.message),
        };
        Ok(Built {
            result,
            ahead: None,
        })
    }

    /// Sends those of `infos` that are among `unknown` and that the machine does
    /// not say it holds. Returns how many answers to that will come.
    async fn supply(
        &mut self,
        infos: &[PathInfo],
        unknown: &BTreeSet<StorePath>,
    ) -> Result<usize, Fault> {
        if unknown.is_empty() {
            return Ok(0);
        }
        let substitute = self.builder.substitutes;
        self.request(&Request::QueryValidPaths {
            lock: true,
            substitute,
            paths: unknown.clone(),
        })?;
        let valid = self.valid_paths().await?;
        let missing: Vec<_> = (infos.iter())
            .filter(|info| unknown.contains(&info.path) && !valid.contains(&info.path))
            .cloned()
            .collect();
        send(&mut self.connection, &missing, &self.order.sources).await?;
        Ok(missing.len())
    }

    fn request(&mut self, request: &Request) -> Result<(), Fault> {
        Ok(self.connection.request(request)?)
    }

    async fn valid_paths(&mut self) -> Result<BTreeSet<StorePath>, Fault> {
        let answer = self.connection.answer().await?;
        let Response::ValidPaths(valid) = answer else {
            return Err(unexpected("a set of paths", &answer));
        };
        Ok(valid)
    }

    fn known_outputs(&self) -> BTreeMap<String, StorePath> {
        (self.order.spec.derivation.outputs.iter())
            .filter_map(|(name, output)| Some((name.clone(), output.path.clone()?)))
            .collect()
    }

    /// What the program writes to its standard error from now on. To be had
    /// before the build is asked for: its first line may come before the answer
    /// to what was asked together with it.
    fn lines(&self) -> Option<mpsc::Receiver<Bytes>> {
        let stderr = self.connection.peer().stderr();
        stderr.map(musher_store::transport::Stderr::lines)
    }

    /// The next answer; what the program writes until then is the log.
    async fn logged_answer(
        &mut self,
        mut lines: Option<mpsc::Receiver<Bytes>>,
    ) -> Result<Response, Fault> {
        self.log.build_starts();
        // One future all the way: in the middle of finding out why the program
        // went away it must not begin again.
        let mut answer = pin!(self.connection.answer());
        let answer = loop {
            tokio::select! {
                biased;
                Some(line) = next_line(&mut lines) => self.log.line(&line)?,
                answer = &mut answer => break answer?,
            }
        };
        while let Ok(Some(line)) = timeout(LAST_LINES, next_line(&mut lines)).await {
            self.log.line(&line)?;
        }
        Ok(answer)
    }
}

/// The next line of a log; never one where there is no log.
async fn next_line(lines: &mut Option<mpsc::Receiver<Bytes>>) -> Option<Bytes> {
    match lines {
        Some(lines) => lines.recv().await,
        None => std::future::pending().await,
    }
}

impl Built {
    /// Looks at the outputs.
    async fn finish(self, attempt: Attempt<'_>) -> Result<Outcome, Fault> {
        let Self { result, ahead } = self;
        if !result.status.is_success() {
            // What was asked beyond the failed build ends the connection.
            return Ok(Outcome::failed(result));
        }
        let known = attempt.known_outputs();
        let Attempt {
            builder,
            mut connection,
            order,
            ..
        } = attempt;
        let mut infos = path_infos(&mut connection).await?;
        let found: BTreeMap<_, _> = (result.built_outputs.iter())
            .filter(|(name, _)| !known.contains_key(*name))
            .filter(|(name, _)| order.spec.derivation.outputs.contains_key(*name))
            .map(|(name, built)| (name.clone(), built.path.clone()))
            .collect();
        if !found.is_empty() {
            let paths = found.values().cloned().collect();
            connection.request(&Request::QueryPathInfos { paths })?;
            infos.extend(path_infos(&mut connection).await?);
        }
        let declared = order.spec.derivation.outputs.keys();
        let outputs: BTreeMap<_, _> = declared
            .filter_map(|name| {
                let path = known.get(name).or_else(|| found.get(name))?;
                Some((name.clone(), infos.get(path)?.clone()))
            })
            .collect();
        let held = match ahead.and_then(|path| infos.get(&path)) {
            Some(info) => HeldOutputs::ahead(info, builder.store.nar_stream(connection)),
            None if order.spec.nar_ahead => HeldOutputs::rooted(Rooted {
                connection: Some(connection),
                store: builder.store.clone(),
            }),
            None => {
                let paths = outputs.values().map(|info| info.path.clone()).collect();
                let store = builder.store.clone();
                let give_back = move |connection| store.give_back(connection);
                HeldOutputs::rooted(builder.keeper.keep(connection, paths, give_back))
            }
        };
        Ok(Outcome {
            result,
            outputs,
            held: Some(held),
            measured: None,
            kept_dir: None,
        })
    }
}

async fn path_infos(
    connection: &mut ServeConnection,
) -> Result<BTreeMap<StorePath, PathInfo>, Fault> {
    let answer = connection.answer().await?;
    let Response::PathInfos(infos) = answer else {
        return Err(unexpected("path infos", &answer));
    };
    let by_path = infos.into_iter().map(|info| (info.path.clone(), info));
    Ok(by_path.collect())
}

fn unexpected(expected: &'static str, found: &Response) -> Fault {
    StoreError::Unexpected {
        expected,
        found: format!("{found:?}"),
    }
    .into()
}

/// What a program's exit status says of a build that failed: Nix sets bits in
/// it, above 0x60, for how it did.
fn status_of(exit: u64) -> BuildStatus {
    let has = |bits| exit & bits == bits;
    match exit {
        _ if !has(0x60) => BuildStatus::MiscFailure,
        _ if has(0x01) => BuildStatus::TimedOut,
        _ if has(0x08) => BuildStatus::NotDeterministic,
        _ if has(0x02) => BuildStatus::OutputRejected,
        _ => BuildStatus::PermanentFailure,
    }
}

fn options(limits: Limits) -> BuildOptions {
    BuildOptions {
        max_silent: limits
            .max_silent
            .map(|time| time.as_secs())
            .unwrap_or_default(),
        timeout: limits
            .timeout
            .map(|time| time.as_secs())
            .unwrap_or_default(),
        max_log_size: limits.max_log.unwrap_or_default(),
        ..BuildOptions::default()
    }
}

#[async_trait]
impl Touch for ServeConnection {
    async fn touch(&mut self, paths: &BTreeSet<StorePath>) -> Result<(), StoreError> {
        self.request(&Request::QueryValidPaths {
            lock: true,
            substitute: false,
            paths: paths.clone(),
        })?;
        self.answer().await.map(drop)
    }
}

/// Gives a connection back when it is dropped. Until then the paths touched on
/// it are safe from the machine's garbage collector.
struct Rooted {
    connection: Option<ServeConnection>,
    store: Arc<ServeStore>,
}

impl Drop for Rooted {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.store.give_back(connection);
        }
    }
}
