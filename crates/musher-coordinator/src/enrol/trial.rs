//! A worker that was just put on a machine, tried out: what keeps it from
//! sandboxing builds, and whether a build comes out right. Takes the way that
//! the coordinator takes later.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use musher_api::worker as api;
use musher_api::worker::attempt_event::Event;
use musher_api::{Versions, coordinator};
use musher_protocol::types::{BasicDerivation, BasicOutput, BuildMode, NarHash};
use musher_store::StoreError;
use musher_store::ssh::Link;
use nix_archive::nar::hash_regular;
use nix_derivation::{DerivationBuilder, StoreDir, StorePath};
use tokio::time::timeout;
use tonic::Streaming;

use super::binary::ContentHash;
use super::shim::worker_command;
use crate::worker::{Session, SessionOptions, Way};

/// How long the build may take.
const BOUND: Duration = Duration::from_secs(60);

/// How much of the build's log is kept, in bytes.
const KEPT: usize = 4096;

/// The only attempt of a coordinator that lives no longer.
const LEASE: u64 = 1;

/// What builds.
const SHELL: &str = "/bin/sh";

/// A worker on a machine, as one who only looks sees it.
pub struct Trial {
    session: Session,
}

/// A build that came out right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tried {
    /// Whether it ran in a sandbox.
    pub sandboxed: bool,
    /// From the order to the result.
    pub time: Duration,
}

/// Why a worker is of no use.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// It does not answer.
    #[error("the worker there does not answer")]
    Worker {
        /// Why not.
        #[source]
        source: StoreError,
    },
    /// The derivation could not be made.
    #[error("cannot make something to build")]
    Derivation {
        /// Why not.
        #[source]
        source: nix_derivation::Error,
    },
    /// No result came.
    #[error("the worker did not finish a build that does next to nothing")]
    Unfinished {
        /// What became of it.
        #[source]
        source: StoreError,
    },
    /// The worker had a problem of its own.
    #[error("the worker there cannot build: {text}")]
    Fault {
        /// Its words.
        text: String,
    },
    /// The build failed.
    #[error("a build that does next to nothing failed: {error}")]
    Failed {
        /// The worker's words.
        error: String,
        /// The end of its log.
        log: String,
    },
    /// The build made something else.
    #[error("a build that does next to nothing made something else")]
    OtherOutput,
}

impl TrialError {
    /// Advice the user can act on, if there is any.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Worker { source } | Self::Unfinished { source } => source.help(),
            Self::Failed { log, .. } if !log.is_empty() => {
                Some(format!("its log ends with\n{log}"))
            }
            Self::Derivation { .. }
            | Self::Fault { .. }
            | Self::Failed { .. }
            | Self::OtherOutput => None,
        }
    }
}

impl Trial {
    /// Starts the worker of the program `hash` through the shim at the other
    /// end of `link`, or finds it running.
    pub async fn open(
        link: Link,
        hash: &ContentHash,
        patience: Duration,
    ) -> Result<Self, TrialError> {
        let command = worker_command(Some(hash));
        let way = Arc::new(Way::Ssh { link, command });
        let options = SessionOptions {
            versions: Versions::OURS,
            ..SessionOptions::visitor(patience)
        };
        let session = Session::open(way, options).await;
        let session = session.map_err(|source| TrialError::Worker { source })?;
        Ok(Self { session })
    }

    /// What the machine has, and what keeps it from building.
    pub fn capabilities(&self) -> api::Capabilities {
        self.session
            .hello()
            .capabilities
            .clone()
            .unwrap_or_default()
    }

    /// Has something built for `system` that nobody has built before; builds
    /// see `sandbox_paths`.
    pub async fn build(
        &self,
        system: &str,
        sandbox_paths: Vec<String>,
    ) -> Result<Tried, TrialError> {
        let probe = Probe::new(self.session.store_dir(), system)?;
        let begun = Instant::now();
        let request = api::AttemptRequest {
            lease: LEASE,
            order: Some(probe.order(self.session.store_dir(), sandbox_paths)),
            log_offset: 0,
            nar_ahead: 0,
            slots: 0,
        };
        const ATTEMPT: &str = "build";
        let mut log = Vec::new();
        let followed = timeout(BOUND, async {
            let events = match self.session.control().attempt(request).await {
                Ok(events) => events.into_inner(),
                Err(status) => return Err(self.session.failure(ATTEMPT, &status).await),
            };
            follow(events, &mut log).await
        });
        let ended = followed.await.unwrap_or_else(|_| {
            Err(StoreError::Silent {
                command: "musher worker".to_owned(),
                after: BOUND,
            })
        });
        let ended = ended.map_err(|source| TrialError::Unfinished { source })?;
        let time = begun.elapsed();
        let sandboxed = ended.usage.as_ref().is_some_and(|usage| usage.sandboxed);
        probe.judge(ended, self.session.store_dir(), &log)?;
        self.release().await;
        Ok(Tried { sandboxed, time })
    }

    /// Lets go of what was built. The worker does so too when we are gone.
    async fn release(&self) {
        let leases = vec![LEASE];
        let _ = self
            .session
            .control()
            .release(api::ReleaseRequest { leases })
            .await;
    }
}

/// Follows the attempt to its end, and keeps the end of its log.
async fn follow(
    mut events: Streaming<api::AttemptEvent>,
    log: &mut Vec<u8>,
) -> Result<api::Ended, StoreError> {
    let refused = |message: String| StoreError::Worker {
        attempt: "build",
        message,
    };
    loop {
        let event = events.message().await;
        let event = event.map_err(|status| refused(status.message().to_owned()))?;
        match event.and_then(|event| event.event) {
            Some(Event::Ended(ended)) => return Ok(ended),
            Some(Event::Log(piece)) => {
                log.extend_from_slice(&piece.bytes);
                log.drain(..log.len().saturating_sub(KEPT));
            }
            Some(Event::Started(_)) => {}
            Some(Event::Missing(_)) => {
                return Err(refused("it misses inputs where there are none".to_owned()));
            }
            None => return Err(refused("it hung up".to_owned())),
        }
    }
}

/// A derivation with a number in it.
struct Probe {
    drv_path: StorePath,
    derivation: BasicDerivation,
    out: StorePath,
    expected: NarHash,
}

impl Probe {
    fn new(store_dir: &StoreDir, system: &str) -> Result<Self, TrialError> {
        let content = format!("{:032x}", rand::random::<u128>());
        let name = "musher-enrolment";
        let made = DerivationBuilder::new_in_store(store_dir.clone(), name, system, SHELL)
            .input_addressed_output("out")
            .argument("-c")
            // Only what the shell itself can do: there is nothing else.
            .argument(format!("echo {content} > $out"))
            .build()
            .map_err(|source| TrialError::Derivation { source })?;
        let out = made.resolved_outputs().remove("out");
        let Some(out) = out.and_then(|out| out.path) else {
            unreachable!("bug: an input-addressed output has no path");
        };
        let hash = hash_regular(format!("{content}\n").as_bytes(), false);
        let output = BasicOutput {
            path: Some(out.clone()),
            hash_algo: String::new(),
            hash: String::new(),
        };
        Ok(Self {
            drv_path: made.drv_path(),
            derivation: BasicDerivation {
                outputs: BTreeMap::from([("out".to_owned(), output)]),
                input_sources: BTreeSet::new(),
                system: made.system().to_owned(),
                builder: made.builder().to_owned(),
                args: made.arguments().to_vec(),
                env: made.environment().clone(),
            },
            out,
            expected: NarHash(hash.sha256),
        })
    }

    fn order(&self, store_dir: &StoreDir, sandbox_paths: Vec<String>) -> api::Order {
        let derivation = coordinator::Derivation::from_value(store_dir, &self.derivation);
        api::Order {
            drv_path: store_dir.render_path(&self.drv_path),
            derivation: Some(derivation),
            mode: coordinator::BuildMode::from(BuildMode::Normal).into(),
            limits: None,
            cores: 1,
            sandbox_paths,
            keep_failed: false,
        }
    }

    /// Whether the build came out as it should.
    fn judge(&self, ended: api::Ended, store_dir: &StoreDir, log: &[u8]) -> Result<(), TrialError> {
        match ended.fault() {
            api::Fault::None => {}
            api::Fault::DiskFull
            | api::Fault::OutOfMemory
            | api::Fault::Ours
            | api::Fault::Cancelled => {
                let text = ended.fault_text;
                return Err(TrialError::Fault { text });
            }
        }
        let result = ended.result.unwrap_or_default().to_value(store_dir);
        let (result, outputs) = result.map_err(|error| TrialError::Fault {
            text: error.to_string(),
        })?;
        if !result.status.is_success() {
            let log = String::from_utf8_lossy(log).trim().to_owned();
            let error = result.error.to_string();
            return Err(TrialError::Failed { error, log });
        }
        let made = outputs.values().find(|info| info.path == self.out);
        match made.is_some_and(|info| info.nar_hash == self.expected) {
            true => Ok(()),
            false => Err(TrialError::OtherOutput),
        }
    }
}
