//! Requests behind the hook entrance: a client asks for one derivation at a time
//! there, but what else it is going to ask for is known, and is built before it
//! does. Here each client's process has its request for as long as it lives.

mod early_build;
mod foreseer;
mod graph;
mod process;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix_derivation::StorePath;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use crate::build::{BuildSpec, Limits, Progress, undisclosed_outputs};
use crate::core::{BuildKey, CoreHandle};
use crate::home::Home;

use foreseer::Foreseer;
pub(crate) use process::ClientProcess;

/// Clients that are foreseen at once.
const MOST_CLIENTS: usize = 1000;

/// Derivations of all of them together.
const MOST_DERIVATIONS: usize = 100_000;

/// Bytes of outputs that were read before anybody asked for them.
const MOST_NARS: usize = 64 << 20;

/// How long a session may take to say what it was asked for.
const ANSWER: Duration = Duration::from_secs(5);

/// What all requests here have in common.
struct Shared {
    core: CoreHandle,
    home: Arc<Home>,
    /// Room for derivations, and for NARs.
    derivations: Arc<Semaphore>,
    nars: Arc<Semaphore>,
}

/// A derivation that a client is going to realise, and outputs of it that are
/// wanted, perhaps with other paths among them.
#[derive(Debug)]
pub(crate) struct Intended {
    pub(crate) drv: StorePath,
    pub(crate) outputs: BTreeSet<StorePath>,
}

/// What a request is told.
enum News {
    /// The client is going to realise these.
    Intended(Vec<Intended>),
    /// The client asked for a build.
    Asked(Box<Asked>),
    /// A session that asked for a build has left.
    Left { drv: StorePath },
    /// A client asked for something else than what was built ahead.
    Disagreed,
}

/// A build that a client asked for.
#[derive(Clone)]
struct Asked {
    drv: StorePath,
    limits: Limits,
    /// What it reads.
    inputs: BTreeSet<StorePath>,
    /// Outputs that may mention more than they refer to.
    undisclosed: BTreeSet<String>,
    progress: watch::Receiver<Progress>,
}

/// A build that nobody has asked for yet.
struct Ahead {
    key: BuildKey,
    progress: watch::Receiver<Progress>,
}

/// Such builds of one client.
#[derive(Default)]
struct AheadBuilds(Mutex<BTreeMap<StorePath, Ahead>>);

impl AheadBuilds {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<StorePath, Ahead>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How much is known of what a client has among its temporary roots.
#[derive(Default)]
struct Known {
    /// How many bytes there were.
    length: u64,
    /// Where to read on.
    resume: u64,
    /// Up to where somebody was asked to read, and when.
    asked: Option<(u64, Instant)>,
}

/// A client that has something built.
struct Client {
    news: mpsc::UnboundedSender<News>,
    ahead: Arc<AheadBuilds>,
    known: Known,
    _request: AbortOnDropHandle<()>,
}

type Clients = BTreeMap<ClientProcess, Client>;

/// The requests of all clients.
pub(crate) struct Foresight {
    shared: Arc<Shared>,
    clients: Arc<Mutex<Clients>>,
}

/// What a session learns that asks for a build.
pub(crate) struct Met {
    /// What the client's request is told of it.
    pub(crate) asking: Asking,
    /// The build, if it was made ahead.
    pub(crate) progress: Option<watch::Receiver<Progress>>,
    /// Where to read on what else the client has built.
    pub(crate) unread: Option<u64>,
}

/// A session that asks for a build, until it leaves.
pub(crate) struct Asking {
    news: mpsc::UnboundedSender<News>,
    drv: StorePath,
    has_asked: bool,
}

impl Foresight {
    /// Where builds are asked of `core`, and derivations read in `home`.
    pub(crate) fn new(core: CoreHandle, home: Arc<Home>) -> Self {
        Self {
            shared: Arc::new(Shared {
                core,
                home,
                derivations: Arc::new(Semaphore::new(MOST_DERIVATIONS)),
                nars: Arc::new(Semaphore::new(MOST_NARS)),
            }),
            clients: Arc::default(),
        }
    }

    /// A client whose temporary roots have `length` bytes asks for a build.
    pub(crate) fn meets(
        &self,
        process: ClientProcess,
        length: u64,
        spec: &BuildSpec,
    ) -> Option<Met> {
        let mut clients = lock(&self.clients);
        clients.retain(|_, client| !client.news.is_closed());
        if !clients.contains_key(&process) {
            if clients.len() >= MOST_CLIENTS {
                debug!(?process, "too many clients: nothing is built ahead");
                return None;
            }
            let client = self.begin(process);
            clients.insert(process, client);
        }
        let client = clients.get_mut(&process)?;
        let ahead = client.ahead.lock().remove(&spec.drv_path);
        let progress = ahead.and_then(|ahead| {
            if ahead.key == BuildKey::of(spec) {
                return Some(ahead.progress);
            }
            debug!(drv = %spec.drv_path, "what was built ahead is not what is asked for");
            // It may be gone; then there is nothing to be told.
            let _ = client.news.send(News::Disagreed);
            None
        });
        let unread = client.known.unread(length);
        debug!(?process, length, unread, "a client asks for a build");
        Some(Met {
            asking: Asking {
                news: client.news.clone(),
                drv: spec.drv_path.clone(),
                has_asked: false,
            },
            progress,
            unread,
        })
    }

    fn begin(&self, process: ClientProcess) -> Client {
        let (news, inbox) = mpsc::unbounded_channel();
        let ahead = Arc::new(AheadBuilds::default());
        let foreseer = Foreseer::new(self.shared.clone(), ahead.clone(), inbox);
        Client {
            news,
            ahead,
            known: Known::default(),
            _request: AbortOnDropHandle::new(tokio::spawn(foreseer.run(process.watch()))),
        }
    }

    /// A session tells what its client is going to realise. With the last of it
    /// comes how long the temporary roots were, and where to read on.
    pub(crate) fn told(
        &self,
        process: ClientProcess,
        intended: Vec<Intended>,
        read: Option<(u64, u64)>,
    ) {
        let mut clients = lock(&self.clients);
        let Some(client) = clients.get_mut(&process) else {
            return;
        };
        debug!(
            ?process,
            derivations = intended.len(),
            "what a client is going to realise is known"
        );
        let _ = client.news.send(News::Intended(intended));
        if let Some((length, resume)) = read {
            client.known.length = client.known.length.max(length);
            client.known.resume = client.known.resume.max(resume);
        }
    }
}

fn lock(clients: &Mutex<Clients>) -> MutexGuard<'_, Clients> {
    clients.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Known {
    /// Where a session is to read on of temporary roots of `length` bytes, if it
    /// is.
    fn unread(&mut self, length: u64) -> Option<u64> {
        let now = Instant::now();
        let is_asked = (self.asked)
            .is_some_and(|(upto, since)| length <= upto && now.duration_since(since) < ANSWER);
        if length <= self.length || is_asked {
            return None;
        }
        self.asked = Some((length, now));
        Some(self.resume)
    }
}

impl Asking {
    /// The build is `progress`, and was asked for as `spec`.
    pub(crate) fn follows(&mut self, spec: &BuildSpec, progress: &watch::Receiver<Progress>) {
        self.has_asked = true;
        let asked = Asked {
            drv: self.drv.clone(),
            limits: spec.limits,
            inputs: spec.derivation.input_sources.clone(),
            undisclosed: undisclosed_outputs(&spec.derivation),
            progress: progress.clone(),
        };
        let _ = self.news.send(News::Asked(Box::new(asked)));
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if self.has_asked {
            let drv = self.drv.clone();
            let _ = self.news.send(News::Left { drv });
        }
    }
}
