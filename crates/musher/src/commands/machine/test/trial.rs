//! The test of one machine: step by step, as far as it comes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use musher_coordinator::config::{Driven, Machine, host_system};
use musher_coordinator::worker::{Session, SessionOptions};
use musher_protocol::types::NarHash;
use musher_protocol::worker::Trust;
use musher_store::url::SshStore;
use musher_store::{NarStream, Store, StoreError};
use nix_derivation::{HashAlgorithm, NixHash, hash_bytes};
use tokio::sync::{Semaphore, mpsc};

use super::build::{BuildError, Trivial};
use super::peer::{Peer, Spoken};
use super::report::{Measured, Report};
use super::sample::{Sample, SampleError};
use super::versions;
use crate::check::{Check, Finding, advice};
use crate::failure::Failure;
use crate::remotes::{Remotes, ping};
use crate::ui::quantity;

/// Enough for a rate to mean something, and soon done on a slow line.
const SAMPLE_SIZE: usize = 4 << 20;

/// What a test needs.
pub(super) struct Trial<'a> {
    pub(super) machine: &'a Machine,
    pub(super) remotes: &'a Remotes,
    /// Held while a rate is measured.
    pub(super) copying: &'a Semaphore,
    /// How long a step may take.
    pub(super) limit: Duration,
    /// What builds of ours see there besides their inputs.
    pub(super) sandbox_paths: Vec<String>,
    /// The version of Nix on this host.
    pub(super) nix_here: Option<&'a str>,
}

#[derive(Debug, thiserror::Error)]
enum TrialError {
    #[error("no end within {} s", .limit.as_secs())]
    OutOfTime { limit: Duration },
    #[error("cannot {attempt}")]
    Store {
        attempt: &'static str,
        source: StoreError,
    },
    #[error("cannot make something to copy")]
    Sample { source: SampleError },
    #[error("what came back is not what was sent: its hash is `{found}`, not `{expected}`")]
    Changed { expected: NarHash, found: NarHash },
}

fn store_failed(attempt: &'static str) -> impl Fn(StoreError) -> Failure {
    move |source| {
        let help = source.help();
        Failure::environment(TrialError::Store { attempt, source }).help(help)
    }
}

/// The steps so far, and who hears of them.
struct Story {
    steps: Vec<Check>,
    tell: mpsc::UnboundedSender<Check>,
    limit: Duration,
}

impl Story {
    /// Makes a step, within the time for one. None if it failed.
    async fn step<T>(
        &mut self,
        name: &'static str,
        work: impl Future<Output = Result<(T, Finding), Failure>>,
    ) -> Option<T> {
        let limit = self.limit;
        let ended = tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
            let help = "see whether the machine is busy; `--timeout` sets how long to wait";
            Err(Failure::environment(TrialError::OutOfTime { limit }).help(help.to_owned()))
        });
        let (value, result) = match ended {
            Ok((value, finding)) => (Some(value), Ok(finding)),
            Err(failure) => (None, Err(failure)),
        };
        let step = Check::new(name, result);
        self.steps.push(step.clone());
        // Nobody listens any more; the report still is complete.
        let _ = self.tell.send(step);
        value
    }
}

impl Trial<'_> {
    /// Makes the test, and tells of each step once it has ended.
    pub(super) async fn run(self, tell: mpsc::UnboundedSender<Check>) -> Report {
        let mut story = Story {
            steps: Vec::new(),
            tell,
            limit: self.limit,
        };
        let mut measured = Measured::default();
        self.steps(&mut story, &mut measured).await;
        Report {
            name: self.machine.name.to_string(),
            connect: self.machine.connect.place(),
            passed: story.steps.iter().all(Check::is_well),
            measured,
            steps: story.steps,
        }
    }

    /// Stops where a step fails that the others need.
    async fn steps(&self, story: &mut Story, measured: &mut Measured) -> Option<()> {
        let (peer, spoken) = story.step("connect", self.connect(measured)).await?;
        let store = peer.store();
        story
            .step("round trip", round_trip(&*store, measured))
            .await?;
        story
            .step("versions", async { Ok(self.versions(&spoken, measured)) })
            .await;
        let trust = story.step("trust", trust(&peer, measured)).await?;
        self.copy(story, &*store, measured).await;
        let build = self.build(&peer, trust, measured);
        story.step("build", build).await
    }

    async fn connect(&self, measured: &mut Measured) -> Result<((Peer, Spoken), Finding), Failure> {
        let driven = self.machine.driven().map_err(|error| {
            let help = error.help();
            Failure::user(error).help(help)
        })?;
        match driven {
            Driven::Nix(store) => self.connect_nix(store, measured).await,
            Driven::SshWorker(_) | Driven::ExecWorker(_) | Driven::LocalWorker => {
                self.connect_worker(driven, measured).await
            }
        }
    }

    /// The worker of ours that is there, or is started.
    async fn connect_worker(
        &self,
        driven: Driven<'_>,
        measured: &mut Measured,
    ) -> Result<((Peer, Spoken), Finding), Failure> {
        let begun = Instant::now();
        let way = self.remotes.worker(driven)?;
        let options = SessionOptions::visitor(self.remotes.connect_timeout());
        let session = Session::open(way, options).await;
        let session = session.map_err(store_failed("connect"))?;
        let took = begun.elapsed();
        measured.connect_ms = Some(millis(took));
        let hello = session.hello().clone();
        let mut finding = Finding::new(format!(
            "a worker of release {} in {}",
            hello.release,
            quantity::duration(took)
        ));
        let found = hello.capabilities.unwrap_or_default().findings;
        finding.warnings = found.iter().map(advice).collect();
        let peer = Peer::Musher(Arc::new(session));
        Ok(((peer, Spoken::Musher), finding))
    }

    /// The stock Nix that is there.
    async fn connect_nix(
        &self,
        store: &SshStore,
        measured: &mut Measured,
    ) -> Result<((Peer, Spoken), Finding), Failure> {
        let parts = self.remotes.ssh(store)?;
        let link = parts.link.clone();
        let peer = Peer::nix(store, parts);
        let failed = store_failed("connect");
        let begun = Instant::now();
        let connected = link.connect().await;
        connected.map_err(StoreError::Ssh).map_err(&failed)?;
        let connect = begun.elapsed();
        let spoken = peer.start().await.map_err(&failed)?;
        let start = begun.elapsed() - connect;
        measured.connect_ms = Some(millis(connect));
        measured.start_ms = Some(millis(start));
        let finding = Finding::new(format!(
            "ssh in {}, `{}` in {}",
            quantity::duration(connect),
            store.remote_command().join(" "),
            quantity::duration(start)
        ));
        Ok(((peer, spoken), finding))
    }

    fn versions(&self, spoken: &Spoken, measured: &Measured) -> ((), Finding) {
        let there = match (&measured.nix_version, spoken) {
            (Some(version), _) => format!("Nix {version}"),
            (None, Spoken::Musher) => "a worker of Musher's".to_owned(),
            (None, _) => "Nix of a version it does not say".to_owned(),
        };
        let here = match self.nix_here {
            Some(version) => format!("this host has Nix {version}"),
            None => "this host has no Nix".to_owned(),
        };
        let protocol = measured.protocol.as_deref().unwrap_or_default();
        let mut finding = Finding::new(format!("{there}, {protocol}; {here}"));
        finding.warnings = versions::warnings(spoken);
        ((), finding)
    }

    /// There and back; both or none, in one turn.
    async fn copy(&self, story: &mut Story, store: &dyn Store, measured: &mut Measured) {
        // Only an error if closed, which nobody does.
        let _turn = self.copying.acquire().await;
        let Some(sample) = story.step("upload", upload(store, measured)).await else {
            return;
        };
        story
            .step("download", download(store, &sample, measured))
            .await;
    }

    async fn build(
        &self,
        peer: &Peer,
        trust: Option<Trust>,
        measured: &mut Measured,
    ) -> Result<((), Finding), Failure> {
        let system = self.system();
        let begun = Instant::now();
        let built = match Trivial::new(peer.store().store_dir(), system) {
            Ok(derivation) => derivation.build(peer, trust, &self.sandbox_paths).await,
            Err(error) => Err(error),
        };
        let finding = match built {
            Ok(sandboxed) => {
                measured.build_ms = Some(millis(begun.elapsed()));
                built_in(system, begun.elapsed(), sandboxed)
            }
            // Not the machine's fault, and no reason not to use it.
            Err(error @ BuildError::NoShell) => {
                Finding::new(format!("not tried to the end: {error}")).warn(error.help())
            }
            Err(error) => {
                let help = error.help();
                return Err(Failure::environment(error).help(help));
            }
        };
        Ok(((), finding))
    }

    /// A system of the machine; this host's if it has that.
    fn system(&self) -> &str {
        let systems = &self.machine.systems;
        let own = systems.get(&host_system());
        own.or_else(|| systems.first())
            .map_or("builtin", String::as_str)
    }
}

async fn round_trip(store: &dyn Store, measured: &mut Measured) -> Result<((), Finding), Failure> {
    let info = ping(store).await.map_err(store_failed("ask the store"))?;
    measured.round_trip_ms = Some(millis(info.round_trip));
    measured.nix_version = info.nix_version;
    measured.protocol = Some(info.protocol);
    Ok(((), Finding::new(quantity::duration(info.round_trip))))
}

async fn trust(peer: &Peer, measured: &mut Measured) -> Result<(Option<Trust>, Finding), Failure> {
    let trust = peer.trust().await;
    let trust = trust.map_err(store_failed("find out whether it trusts us"))?;
    measured.trusted = trust.map(|trust| trust == Trust::Trusted);
    let finding = match trust {
        Some(Trust::Trusted) => Finding::new("trusted: it takes derivations and inputs as sent"),
        Some(Trust::NotTrusted) => Finding::new(
            "not trusted: it gets each derivation with all it comes from, and takes inputs only \
             if they are content-addressed or signed",
        )
        .warn(
            "for builds with inputs that were built elsewhere, add the user to `trusted-users` in \
             the nix.conf there, or sign what is built with a key of its `trusted-public-keys`"
                .to_owned(),
        ),
        None => Finding::new("unknown, so it is treated as if it trusted us"),
    };
    Ok((trust, finding))
}

async fn upload(store: &dyn Store, measured: &mut Measured) -> Result<(Sample, Finding), Failure> {
    let sample = Sample::random(store.store_dir(), SAMPLE_SIZE);
    let sample = sample.map_err(|source| Failure::environment(TrialError::Sample { source }))?;
    let begun = Instant::now();
    let sent = store.import(std::slice::from_ref(&sample.info), &sample);
    sent.await.map_err(store_failed("send a path"))?;
    let (rate, finding) = transfer(sample.info.nar_size, begun.elapsed());
    measured.upload_bytes_per_second = rate;
    Ok((sample, finding))
}

async fn download(
    store: &dyn Store,
    sample: &Sample,
    measured: &mut Measured,
) -> Result<((), Finding), Failure> {
    let failed = store_failed("get the path back");
    let begun = Instant::now();
    let nar = store.read_nar(&sample.info.path).await.map_err(&failed)?;
    let limit = sample.info.nar_size;
    // Hashed only then, which is not what is measured.
    let nar = gather(nar, limit).await.map_err(&failed)?;
    let (rate, finding) = transfer(limit, begun.elapsed());
    let NixHash::Sha256(found) = hash_bytes(HashAlgorithm::Sha256, &nar) else {
        unreachable!("bug: a SHA-256 hasher made another hash");
    };
    let (expected, found) = (sample.info.nar_hash, NarHash(found));
    if expected != found {
        return Err(Failure::environment(TrialError::Changed {
            expected,
            found,
        }));
    }
    measured.download_bytes_per_second = rate;
    Ok(((), finding))
}

/// The bytes of a NAR, up to the first chunk that goes beyond `limit`.
async fn gather(mut nar: NarStream, limit: u64) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    while let (true, Some(chunk)) = (bytes.len() as u64 <= limit, nar.next().await) {
        bytes.extend_from_slice(&chunk?);
    }
    Ok(bytes)
}

/// A build that came out right.
pub(in super::super) fn built_in(system: &str, time: Duration, sandboxed: Option<bool>) -> Finding {
    let finding = Finding::new(format!("for `{system}` in {}", quantity::duration(time)));
    match sandboxed {
        Some(false) => finding.warn("it was not sandboxed".to_owned()),
        Some(true) | None => finding,
    }
}

fn transfer(bytes: u64, time: Duration) -> (Option<u64>, Finding) {
    let rate = quantity::per_second(bytes, time);
    let shown = rate.map_or(String::new(), |rate| {
        format!(", {} a second", quantity::size(rate))
    });
    let size = quantity::size(bytes);
    let time = quantity::duration(time);
    (rate, Finding::new(format!("{size} in {time}{shown}")))
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
