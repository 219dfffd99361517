//! `musher worker`, the process: one for each store. Opens the store, listens
//! on its socket, and ends when it is told to or when nobody needs it.

mod bare_store;
mod error;
mod findings;
mod garbage;
mod identity;
mod socket;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use musher_api::Versions;
use musher_store::local::{LocalOptions, LocalStore};
use rustix::fs::{FlockOperation, flock};
use tokio::io::AsyncReadExt as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::executor::{Sandboxing, host_shell};
use crate::places::WorkerPlaces;
use crate::service::{Execute, Service, ServiceParts, error_text, sandbox_path};

use self::bare_store::BareStore;

pub use error::WorkerError;
pub(crate) use findings::SANDBOX;
pub use identity::{binary, executable};
pub(crate) use socket::private_dir;

/// How long an earlier worker of the same store may take to go.
const PREDECESSOR: Duration = Duration::from_secs(15);

/// How often it is looked whether it has gone.
const LOOK: Duration = Duration::from_millis(20);

/// How long attempts may take to end when the worker does.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long callers may take to hang up then.
const HANG_UP: Duration = Duration::from_millis(500);

/// How a worker is to run.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// Where it keeps what.
    pub places: WorkerPlaces,
    /// The most attempts at once; none for as many as a coordinator asks for.
    pub slots: Option<u32>,
    /// What builds see of the machine besides what each asks for, as in
    /// `sandbox-paths`. Without a `/bin/sh` among it one is looked for.
    pub sandbox_paths: Vec<String>,
    /// Whether builds are sandboxed. If not, every result says so.
    pub sandboxed: bool,
    /// How long it stays when nobody needs it.
    pub linger: Duration,
    /// Whether it leaves the session of whoever started it.
    pub detach: bool,
    /// Whether it says `ready` on standard output once it listens, and nothing
    /// there after that.
    pub announce: bool,
    /// Whether it ends when its standard input does.
    pub tied: bool,
}

/// Runs until SIGTERM or SIGINT, until nobody has needed it for a while, or
/// until a newer binary follows and nothing is left to do.
pub async fn run(options: WorkerOptions) -> Result<(), WorkerError> {
    if options.detach {
        // Fails only for one that leads a session already, which is as good.
        let _ = rustix::process::setsid();
    }
    let places = &options.places;
    let _lock = prepare(places).await?;
    let Home {
        store,
        id,
        builds,
        _lock,
    } = open(&options)?;
    let parts = ServiceParts {
        identity: identity::identity(&id, &store)?,
        build: Arc::new(execute(store.clone(), builds, &options)?),
        logs: places.logs(),
        slots: options.slots,
        findings: findings::findings(&places.state, options.sandboxed).await,
        versions: Versions::OURS,
        store: store.clone(),
    };
    let mut stopping = Stopping::new()?;
    let listener = socket::listen(&places.socket())?;
    identity::publish(places, &parts.identity)?;
    info!(socket = %places.socket().display(), instance = parts.identity.instance, "listening");
    if options.announce {
        announce()?;
    }
    let service = Service::new(parts);
    let stop = CancellationToken::new();
    let serving = service.serve(socket::accepted(listener), stop.clone());
    let mut serving = std::pin::pin!(serving);
    let end = tokio::select! {
        end = &mut serving => end.map_err(WorkerError::Serve),
        () = stopping.asked() => Ok(()),
        () = garbage::keep_within_budget(&service, &store) => Ok(()),
        () = hung_up(), if options.tied => Ok(()),
        () = service.idle_for(options.linger), if !options.tied => {
            info!("nobody needs this worker");
            Ok(())
        }
        () = service.retired() => {
            info!("a newer worker follows");
            Ok(())
        }
    };
    // From now on whoever looks for a worker starts a new one.
    let _ = fs::remove_file(places.socket());
    if timeout(FAREWELL, service.stop()).await.is_err() {
        warn!("attempts did not end in time");
    }
    stop.cancel();
    // Those who only listen for signs of life do not hang up by themselves.
    let _ = timeout(HANG_UP, serving).await;
    info!("worker ends");
    end
}

/// Makes the directories and takes the lock that one worker of a store holds.
async fn prepare(places: &WorkerPlaces) -> Result<File, WorkerError> {
    let logs = places.logs();
    for dir in [&places.state, &logs] {
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir);
        made.map_err(WorkerError::file("make the directory", dir))?;
    }
    private_dir(&places.private())?;
    let path = places.lock();
    let lock = File::create(&path).map_err(WorkerError::file("create", &path))?;
    let taken = timeout(PREDECESSOR, async {
        loop {
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(()),
                // It may be about to end: its socket goes before its lock does.
                Err(rustix::io::Errno::WOULDBLOCK) if !socket::answers(&places.socket()) => {
                    sleep(LOOK).await;
                }
                Err(rustix::io::Errno::WOULDBLOCK) => return Err(None),
                Err(errno) => return Err(Some(errno)),
            }
        }
    });
    match taken.await {
        Ok(Ok(())) => {}
        Ok(Err(Some(errno))) => return Err(WorkerError::file("lock", &path)(errno.into())),
        Ok(Err(None)) | Err(_) => return Err(WorkerError::Running { lock: path }),
    }
    empty(&logs)?;
    Ok(lock)
}

/// Removes the logs of an earlier worker: nobody can ask for them any more.
fn empty(logs: &Path) -> Result<(), WorkerError> {
    let tidy = || {
        for entry in fs::read_dir(logs)? {
            fs::remove_file(entry?.path())?;
        }
        Ok(())
    };
    tidy().map_err(WorkerError::file("tidy", logs))
}

/// The worker's store, and where things of it are.
struct Home {
    store: Arc<LocalStore>,
    /// Holds what tells it from others.
    id: PathBuf,
    /// Where builds lie while they run.
    builds: PathBuf,
    /// Held while it is ours, where the worker's own lock does not say so.
    _lock: Option<File>,
}

fn open(options: &WorkerOptions) -> Result<Home, WorkerError> {
    let places = &options.places;
    if !options.sandboxed {
        // What builds find on their way is everybody's to see, as with Nix.
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        let bare = BareStore::here();
        let (store, lock) = bare.open()?;
        return Ok(Home {
            store: Arc::new(store),
            id: bare.id(),
            builds: bare.builds(),
            _lock: Some(lock),
        });
    }
    let root = places.store_root();
    let store = LocalStore::open(LocalOptions::below(&root));
    let store = store.map_err(|source| WorkerError::Store {
        root,
        source: Box::new(source),
    })?;
    Ok(Home {
        store: Arc::new(store),
        id: places.store_id(),
        builds: places.builds(),
        _lock: None,
    })
}

fn execute(
    store: Arc<LocalStore>,
    builds: PathBuf,
    options: &WorkerOptions,
) -> Result<Execute, WorkerError> {
    let mut seen = Vec::new();
    for text in &options.sandbox_paths {
        let bind = sandbox_path(text);
        seen.push(bind.ok_or_else(|| WorkerError::SandboxPath { text: text.clone() })?);
    }
    if !seen.iter().any(|bind| bind.target == Path::new("/bin/sh")) {
        match host_shell() {
            Ok(shell) => seen.extend(shell),
            // Those of nixpkgs bring their own.
            Err(error) => warn!(error = error_text(&error), "builds have no `/bin/sh`"),
        }
    }
    let sandboxing = match options.sandboxed {
        true => Sandboxing::Always,
        false => Sandboxing::Never,
    };
    Execute::open(store, builds, seen, sandboxing).map_err(WorkerError::Build)
}

/// Says that the socket is there, and leaves standard output to the log.
fn announce() -> Result<(), WorkerError> {
    let mut stdout = io::stdout();
    let said = stdout
        .write_all(b"ready\n")
        .and_then(|()| stdout.flush())
        .and_then(|()| Ok(rustix::stdio::dup2_stdout(io::stderr())?));
    said.map_err(WorkerError::Announce)
}

/// Waits for the end of standard input.
async fn hung_up() {
    let mut stdin = tokio::io::stdin();
    let mut byte = [0];
    // What comes is of no interest, and an error is an end too.
    while let Ok(1..) = stdin.read(&mut byte).await {}
}

/// The signals that ask a worker to end.
struct Stopping {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Stopping {
    fn new() -> Result<Self, WorkerError> {
        let catch = |kind| signal(kind).map_err(WorkerError::Signals);
        Ok(Self {
            terminate: catch(SignalKind::terminate())?,
            interrupt: catch(SignalKind::interrupt())?,
        })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
