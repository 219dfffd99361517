//! Stores as commands reach them: with the user's ssh, a private directory for
//! its sockets, and nothing left behind however the command ends.

use std::cell::RefCell;
use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures_util::future::join_all;
use musher_coordinator::config::{Driven, Settings};
use musher_coordinator::worker::{LocalWorker, Way};
use musher_store::local::LocalOptions;
use musher_store::ssh::{ControlDir, ControlDirError, Link, SshError, SshOptions, SshTarget};
use musher_store::transport::PeerEnd;
use musher_store::url::{SshProtocol, SshStore, StoreUrl, UrlError};
use musher_store::{
    OpenError, ServeStore, SshParts, Store, StoreError, StoreInfo, WorkerStore, open_store,
    own_home, ssh_parts,
};
use tempfile::TempDir;

use crate::context::Context;
use crate::failure::Failure;
use crate::runtime::{block_on, until_signal};

/// How to connect.
#[derive(Debug, Args)]
pub(crate) struct ConnectArgs {
    /// How long connecting may take [default: the configuration's `connect-timeout`]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    connect_timeout: Option<u64>,
}

/// The stores of other hosts that a command uses.
pub(crate) struct Remotes {
    ssh: SshOptions,
    /// Where a store of our own is kept.
    state: PathBuf,
    links: RefCell<Vec<Link>>,
    /// Workers that are children of ours, each with a store that goes with it.
    children: RefCell<Vec<(Arc<Way>, TempDir)>>,
    /// Where the control sockets are, if that is not kept. Dropped last.
    _dir: Option<TempDir>,
}

#[derive(Debug, thiserror::Error)]
enum RemotesError {
    #[error("cannot prepare a directory for ssh's sockets")]
    Control { source: ControlDirError },
    #[error("cannot make a directory for ssh's sockets")]
    Temporary { source: std::io::Error },
    #[error("cannot prepare a worker on this host")]
    Local { source: std::io::Error },
    #[error("cannot use `NIX_SSHOPTS`")]
    SshOpts { source: SshError },
    #[error("cannot understand the store `{url}`")]
    Url { url: String, source: UrlError },
    #[error("cannot use the store `{url}`")]
    Open { url: String, source: OpenError },
    #[error("cannot {attempt} `{url}`")]
    Store {
        attempt: &'static str,
        url: String,
        source: StoreError,
    },
    #[error("cannot {attempt} `{url}`: the program to start is not there")]
    NoProgram {
        attempt: &'static str,
        url: String,
        source: Box<PeerEnd>,
    },
}

/// Runs `work` with stores at hand. When it ends, or a signal ends it, no ssh of
/// ours is left.
pub(crate) fn with_remotes<T>(
    context: &Context,
    connect: &ConnectArgs,
    work: impl AsyncFnOnce(&Remotes) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let settings = context.config()?.settings;
    with_remotes_to_the_end(context, &settings, connect, async |remotes| {
        until_signal(work(remotes)).await
    })
}

/// The same, with signals the affair of `work`.
pub(crate) fn with_remotes_to_the_end<T>(
    context: &Context,
    settings: &Settings,
    connect: &ConnectArgs,
    work: impl AsyncFnOnce(&Remotes) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let timeout = connect.connect_timeout.map(Duration::from_secs);
    block_on(async {
        let remotes = Remotes::open(
            timeout.unwrap_or(settings.connect_timeout),
            settings.keepalive_interval,
            context.places.state.clone(),
        )
        .await?;
        let result = work(&remotes).await;
        remotes.close().await;
        result
    })
}

/// Reads a store URL of the command line.
pub(crate) fn parse_url(url: &str) -> Result<StoreUrl, Failure> {
    url.parse().map_err(|source: UrlError| {
        let help = source.help();
        let url = url.to_owned();
        Failure::user(RemotesError::Url { url, source }).help(help)
    })
}

/// What a store did not do, as in `cannot read from `ssh://host``.
pub(crate) fn store_failure(attempt: &'static str, url: &StoreUrl, source: StoreError) -> Failure {
    let help = source.help();
    let is_users = matches!(source, StoreError::Invalid { .. });
    let url = place(url);
    let error = if let StoreError::WorkerSession { end, .. } | StoreError::ServeSession { end, .. } =
        &source
        && end.program_missing()
    {
        // What the protocol made of its absence says nothing more.
        let source = end.clone();
        RemotesError::NoProgram {
            attempt,
            url,
            source,
        }
    } else {
        RemotesError::Store {
            attempt,
            url,
            source,
        }
    };
    Failure::of(is_users, error).help(help)
}

/// How often a round trip is measured. The first also opens what is opened late.
const PINGS: usize = 3;

/// Asks a store who it is, with the shortest of several round trips.
pub(crate) async fn ping(store: &dyn Store) -> Result<StoreInfo, StoreError> {
    let mut best = store.ping().await?;
    for _ in 1..PINGS {
        let info = store.ping().await?;
        best.round_trip = best.round_trip.min(info.round_trip);
    }
    Ok(best)
}

/// A store in few words, without keys and other parameters.
pub(crate) fn place(url: &StoreUrl) -> String {
    match url {
        StoreUrl::Ssh(store) => format!("{}://{}", store.protocol.scheme(), store.authority),
        StoreUrl::Daemon(_) | StoreUrl::Auto(_) | StoreUrl::Local(_) => url.to_string(),
    }
}

impl Remotes {
    async fn open(
        connect_timeout: Duration,
        keepalive: Duration,
        state: PathBuf,
    ) -> Result<Self, Failure> {
        let (control, dir) = control_dir().await?;
        let mut ssh = SshOptions::new(Arc::new(control));
        ssh.connect_timeout = connect_timeout;
        ssh.keepalive_interval = keepalive;
        if let Ok(value) = env::var("NIX_SSHOPTS") {
            ssh = ssh.with_nix_sshopts(&value).map_err(|source| {
                let help = source.help();
                Failure::user(RemotesError::SshOpts { source }).help(help)
            })?;
        }
        Ok(Self {
            ssh,
            state,
            links: RefCell::default(),
            children: RefCell::default(),
            _dir: dir,
        })
    }

    /// The way to a worker of ours. One on this host has a store that is made
    /// for this process: the coordinator's own worker has its store to itself.
    pub(crate) fn worker(&self, driven: Driven<'_>) -> Result<Arc<Way>, Failure> {
        match driven {
            Driven::Nix(store) | Driven::SshWorker(store) => {
                let way = Way::ssh(store, &self.ssh);
                if let Some(link) = way.link() {
                    self.links.borrow_mut().push(link.clone());
                }
                Ok(Arc::new(way))
            }
            Driven::ExecWorker(words) => Ok(Arc::new(Way::Exec(words.to_vec()))),
            Driven::LocalWorker => {
                let failed = |source| Failure::environment(RemotesError::Local { source });
                let dir = tempfile::Builder::new().prefix("musher-").tempdir();
                let dir = dir.map_err(failed)?;
                let program = env::current_exe().map_err(failed)?;
                let (state, run) = (dir.path().join("state"), dir.path().join("run"));
                let way = Arc::new(Way::Local(LocalWorker::new(program, state, run)));
                self.children.borrow_mut().push((way.clone(), dir));
                Ok(way)
            }
        }
    }

    /// How long connecting may take.
    pub(crate) fn connect_timeout(&self) -> Duration {
        self.ssh.connect_timeout
    }

    /// The store at `url`. Nothing is connected yet.
    pub(crate) fn store(&self, url: &StoreUrl) -> Result<Arc<dyn Store>, Failure> {
        let StoreUrl::Ssh(ssh) = url else {
            return open_store(url, &self.ssh, &self.state).map_err(|source| unusable(url, source));
        };
        let parts = self.ssh(ssh)?;
        Ok(match ssh.protocol {
            SshProtocol::Worker => {
                Arc::new(WorkerStore::new(parts.connector, parts.store_dir, None))
            }
            SshProtocol::Serve => Arc::new(ServeStore::new(parts.connector, parts.store_dir)),
        })
    }

    /// The store on this disk that `url` means, if we look after it ourselves.
    pub(crate) fn own(&self, url: &StoreUrl) -> Result<Option<LocalOptions>, Failure> {
        own_home(url, &self.state).map_err(|source| unusable(url, source))
    }

    /// What a store on another host is reached by.
    pub(crate) fn ssh(&self, store: &SshStore) -> Result<SshParts, Failure> {
        let parts = ssh_parts(store, &self.ssh)
            .map_err(|source| unusable(&StoreUrl::Ssh(store.clone()), source))?;
        self.links.borrow_mut().push(parts.link.clone());
        Ok(parts)
    }

    /// How ssh is used.
    pub(crate) fn ssh_options(&self) -> &SshOptions {
        &self.ssh
    }

    /// The connections to a host. Nothing is connected yet.
    pub(crate) fn link(&self, target: SshTarget, options: SshOptions) -> Link {
        let link = Link::new(target, options);
        self.links.borrow_mut().push(link.clone());
        link
    }

    async fn close(self) {
        let children = self.children.take();
        join_all(children.iter().map(|(way, _)| way.close())).await;
        let links = self.links.take();
        join_all(links.iter().map(Link::close)).await;
    }
}

fn unusable(url: &StoreUrl, source: OpenError) -> Failure {
    Failure::user(RemotesError::Open {
        url: url.to_string(),
        source,
    })
}

/// A directory of this process for control sockets, and what it lies in if
/// nobody else uses that.
async fn control_dir() -> Result<(ControlDir, Option<TempDir>), Failure> {
    // The user's own, where what an earlier process left is found and ended.
    let runtime_dir = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    if let Some(dir) = runtime_dir.filter(|dir| dir.is_absolute())
        && let Ok(control) = ControlDir::open(&dir.join("musher/ssh")).await
    {
        return Ok((control, None));
    }
    match below(&env::temp_dir()).await {
        // What a socket may be called is short.
        Err(RemotesError::Control {
            source: ControlDirError::TooLong { .. },
        }) => below(Path::new("/tmp")).await,
        made => made,
    }
    .map(|(control, dir)| (control, Some(dir)))
    .map_err(Failure::environment)
}

async fn below(parent: &Path) -> Result<(ControlDir, TempDir), RemotesError> {
    // Readable by us alone, as tempfile makes its directories.
    let dir = tempfile::Builder::new()
        .prefix("musher-")
        .tempdir_in(parent)
        .map_err(|source| RemotesError::Temporary { source })?;
    let control = ControlDir::open(dir.path())
        .await
        .map_err(|source| RemotesError::Control { source })?;
    Ok((control, dir))
}
