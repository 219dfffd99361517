//! `musher daemon`: reads the configuration, opens what the core needs,
//! listens, and stops cleanly. Decides nothing.

mod clients;
mod locks;
mod name;
mod signals;
mod store_entrance;

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use musher_api::coordinator::coordinator_server::CoordinatorServer;
use musher_scheduler::{LeaseId, MachineSpec, Settings as SchedulerSettings, capability_classes};
use musher_store::LockHolder;
use musher_store::ssh::{ControlDir, ControlDirError, SshError, SshOptions};
use musher_store::transport::listen_privately;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::signal::unix::Signal;
use tracing::{debug, info, warn};

use clients::Clients;
use locks::Locks;
use name::CoordinatorName;
use signals::Signals;
use store_entrance::{Sessions, StoreEntrance};

use crate::build::Limits;
use crate::config::{Config, ConfigError, ConfigFile, Settings};
use crate::core::{Command, Core, CoreHandle};
use crate::fleet::{FleetError, LocalPlaces, Reach, machine_setups};
use crate::history::History;
use crate::home::{Home, HomeOpenError};
use crate::kept_logs::KeptLogs;
use crate::request::Foresight;
use crate::rpc::{ReloadConfig, Service};
use crate::setup::{Entrance, leads_to, write_builders_file};

/// The largest message accepted, in bytes: a derivation with all of its
/// environment, which can hold whole files.
const MESSAGE: usize = 64 << 20;

/// How long callers may take to hang up once the daemon stops.
const FAREWELL: Duration = Duration::from_secs(2);

/// Where the daemon keeps what.
#[derive(Debug, Clone)]
pub struct DaemonPlaces {
    /// Its configuration.
    pub config: ConfigFile,
    /// The directory of sockets; gone after a reboot.
    pub run: PathBuf,
    /// The directory of logs.
    pub state: PathBuf,
    /// The builders file for stock Nix, kept up to date if it exists, and how
    /// its lines lead to us.
    pub builders: Option<(PathBuf, Entrance)>,
    /// The value of `NIX_SSHOPTS`.
    pub nix_sshopts: Option<String>,
}

/// How long a daemon runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// Until it is told to stop.
    UntilStopped,
    /// Until nobody has been connected for this long.
    OnDemand(Duration),
}

impl DaemonPlaces {
    /// The coordinator's socket below the run directory `run`.
    pub fn control_socket(run: &Path) -> PathBuf {
        run.join("control.sock")
    }

    /// The socket of sessions of other users of this host, who may ask less.
    pub fn users_socket(run: &Path) -> PathBuf {
        run.join("users.sock")
    }

    /// The socket of stock clients, for whom the home store is theirs.
    pub fn store_socket(run: &Path) -> PathBuf {
        run.join("nix.sock")
    }
}

/// Why the daemon did not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The configuration is not acceptable.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A machine is not.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// The home store cannot be opened.
    #[error(transparent)]
    Home(#[from] HomeOpenError),
    /// `NIX_SSHOPTS` is not acceptable.
    #[error("bad `NIX_SSHOPTS`")]
    SshOpts(#[source] SshError),
    /// The directory for ssh's sockets cannot be used.
    #[error("cannot prepare the directory for ssh's sockets")]
    Control(#[source] ControlDirError),
    /// A file or directory of ours cannot be made.
    #[error("cannot {what} `{}`", .path.display())]
    File {
        /// What was to be done with it.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is a daemon already.
    #[error("{} holds `{}`", another(.holder.as_ref()), .lock.display())]
    Running {
        /// Its lock.
        lock: PathBuf,
        /// Which, where that can be seen.
        holder: Option<LockHolder>,
        /// Whether it was started on demand, and asked to make room.
        on_demand: bool,
    },
    /// One keeps its things in the same place.
    #[error("{} keeps its state in `{}`", another(.holder.as_ref()), .state.display())]
    Shared {
        /// The directory.
        state: PathBuf,
        /// The directory of sockets of the other; empty if it does not say.
        run: PathBuf,
        /// Which, where that can be seen.
        holder: Option<LockHolder>,
    },
    /// The server ended.
    #[error("cannot go on listening on the control socket")]
    Serve(#[source] tonic::transport::Error),
}

fn another(holder: Option<&LockHolder>) -> String {
    let mut text = "another `musher daemon`".to_owned();
    if let Some(holder) = holder {
        text += &format!(", {holder},");
    }
    text
}

impl DaemonError {
    /// Advice the user can act on, if there is any.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Config(error) => error.help(),
            Self::Control(error) => error.help(),
            Self::SshOpts(error) => error.help(),
            Self::Running {
                on_demand: true, ..
            } => Some(
                "it was started on demand and is still used; it ends after its clients, so start \
                 this one again then, or stop it"
                    .to_owned(),
            ),
            Self::Running { .. } => {
                Some("stop it first, or give this one its own `--run` and `--state`".to_owned())
            }
            Self::Shared { run, .. } if run.as_os_str().is_empty() => {
                Some("stop it first, or give this one its own `--run` and `--state`".to_owned())
            }
            Self::Shared { run, .. } => Some(format!(
                "use it by `--run {}`, or give this one its own `--run` and `--state`",
                run.display()
            )),
            Self::Home(error) => error.help(),
            Self::Fleet(_) | Self::File { .. } | Self::Serve(_) => None,
        }
    }
}

/// Runs until SIGTERM or SIGINT, or until its `lifetime` is over. SIGHUP reads
/// the configuration again. `ready` is called once it listens.
pub async fn run(
    places: DaemonPlaces,
    lifetime: Lifetime,
    ready: impl FnOnce(),
) -> Result<(), DaemonError> {
    let mut signals = Signals::catch();
    let mut room = signals::room();
    let Some(prepared) = signals.or_stop(prepare(&places, lifetime)).await else {
        return Ok(());
    };
    let _locks = prepared?;
    let config = Config::load_fleet(&places.config)?;
    let (control, _short) = control_dir(&places.run)
        .await
        .map_err(DaemonError::Control)?;
    let ssh = ssh_options(control, &places, &config.settings)?;
    let name = CoordinatorName::of(&places.state).map_err(|source| DaemonError::File {
        what: "keep the coordinator's name in",
        path: places.state.clone(),
        source,
    })?;
    let reach = reach(&places, ssh.clone(), &name)?;
    let setups = machine_setups(&config, &reach)?;
    let opened = Home::open(&config.settings.home_store, &ssh, &places.state);
    let Some(home) = signals.or_stop(opened).await else {
        return Ok(());
    };
    let home = Arc::new(home?);
    let store_dir = home.store_dir().clone();
    let log_dir = places.state.join("logs");
    let kept_logs = Arc::new(KeptLogs::new(places.state.join("build-logs")));
    let history = History::open(History::path(&places.state)).await;
    let max_faults = usize::try_from(config.settings.max_attempts).unwrap_or(usize::MAX);
    let core = Core::start(
        SchedulerSettings { max_faults },
        first_lease(),
        Arc::clone(&home),
        log_dir,
        Arc::clone(&kept_logs),
        history.clone(),
    );
    let specs: Vec<_> = setups.values().map(|setup| setup.spec.clone()).collect();
    // Without a core there is nothing to go on with; `serve` would tell.
    let _ = core
        .ask(|reply| Command::Configure {
            machines: setups,
            reply,
        })
        .await;
    refresh_builders(&places, &specs);

    let socket = DaemonPlaces::control_socket(&places.run);
    // The lock is ours, so a socket that is there belongs to nobody.
    let listening = listen_privately(&socket).and_then(UnixListener::from_std);
    let listener = listening.map_err(|source| DaemonError::File {
        what: "listen on",
        path: socket.clone(),
        source,
    })?;
    let clients = Clients::none();
    let program = reach.local.program.clone();
    let for_users = home.is_for_users();
    let reload = reloader(places.clone(), reach, core.clone());
    let foresight =
        (config.settings.build_ahead).then(|| Foresight::new(core.clone(), Arc::clone(&home)));
    let service = Arc::new(Service {
        core: core.clone(),
        home,
        store_dir,
        limits: limits(&config.settings),
        started: SystemTime::now(),
        config: places.config.path().to_owned(),
        state: places.state.clone(),
        reload: reload.clone(),
        logs: kept_logs,
        history: history.clone(),
        foresight,
    });
    let _entrance = match config.settings.store_socket && lifetime == Lifetime::UntilStopped {
        true => {
            let sessions = Sessions::new(&program, &places, for_users);
            Some(StoreEntrance::open(&places.run, sessions, service.clone())?)
        }
        false => None,
    };
    info!(socket = %socket.display(), machines = specs.len(), "listening");
    let server = tonic::transport::Server::builder()
        .add_service(CoordinatorServer::from_arc(service).max_decoding_message_size(MESSAGE))
        .serve_with_incoming(clients.of(listener));
    ready();
    let end = tokio::select! {
        // Whoever has come is known before it is said that nobody has.
        biased;
        end = server => end.map_err(DaemonError::Serve),
        () = signals.answer(&reload) => Ok(()),
        () = unwanted(&clients, lifetime, &mut room, &socket) => {
            info!("nobody is connected any more");
            Ok(())
        }
    };
    // A new daemon may bind the path as soon as ours is not listened on.
    let _ = fs::remove_file(&socket);
    let stopped = core.ask(|reply| Command::Stop { reply });
    if tokio::time::timeout(FAREWELL, stopped).await.is_err() {
        warn!("the core did not stop in time");
    }
    history.settle().await;
    end
}

/// Waits until the daemon's lifetime is over. Nobody can connect to `socket`
/// any more then, nor has anybody in the meantime.
async fn unwanted(clients: &Clients, lifetime: Lifetime, room: &mut Option<Signal>, socket: &Path) {
    let Lifetime::OnDemand(mut linger) = lifetime else {
        return std::future::pending().await;
    };
    loop {
        tokio::select! {
            () = clients.gone_for(linger) => {
                if clients.stay_away(socket).await {
                    return;
                }
            }
            // Another daemon is to take our place: nobody is waited for.
            () = signals::room_is_wanted(room) => linger = Duration::ZERO,
        }
    }
}

/// Makes the directories and takes the locks that one daemon holds.
async fn prepare(places: &DaemonPlaces, lifetime: Lifetime) -> Result<Locks, DaemonError> {
    let file = |what, path: &Path| {
        let path = path.to_owned();
        move |source| DaemonError::File { what, path, source }
    };
    for (dir, mode) in [
        (&places.run, 0o755),
        (&places.state, 0o750),
        (&places.state.join("logs"), 0o750),
    ] {
        let made = fs::DirBuilder::new().recursive(true).mode(mode).create(dir);
        made.map_err(file("make the directory", dir))?;
    }
    let locks = Locks::take(places, lifetime).await?;
    let logs = places.state.join("logs");
    prune_logs(&logs).map_err(file("tidy", &logs))?;
    Ok(locks)
}

/// Removes the logs of earlier runs: nobody can ask for them any more.
fn prune_logs(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// What machines are reached with, by ssh and as children of this process.
fn reach(
    places: &DaemonPlaces,
    ssh: SshOptions,
    name: &CoordinatorName,
) -> Result<Reach, DaemonError> {
    let program = std::env::current_exe().map_err(|source| DaemonError::File {
        what: "find",
        path: "/proc/self/exe".into(),
        source,
    })?;
    Ok(Reach {
        ssh,
        local: LocalPlaces {
            program,
            state: places.state.clone(),
            run: places.run.clone(),
        },
        coordinator: name.as_str().to_owned(),
    })
}

/// A directory for ssh's sockets below `run`; where its path would be too long
/// for ssh, one elsewhere that goes when the second is dropped.
async fn control_dir(run: &Path) -> Result<(ControlDir, Option<TempDir>), ControlDirError> {
    match ControlDir::open(&run.join("ssh")).await {
        Err(ControlDirError::TooLong { .. }) => {}
        opened => return opened.map(|control| (control, None)),
    }
    let parent = Path::new("/tmp");
    let made = tempfile::Builder::new()
        .prefix("musher-")
        .tempdir_in(parent);
    let short = made.map_err(|source| ControlDirError::Io {
        path: parent.to_owned(),
        source,
    })?;
    let control = ControlDir::open(short.path()).await?;
    Ok((control, Some(short)))
}

fn ssh_options(
    control: ControlDir,
    places: &DaemonPlaces,
    settings: &Settings,
) -> Result<SshOptions, DaemonError> {
    let mut ssh = SshOptions::new(Arc::new(control));
    ssh.connect_timeout = settings.connect_timeout;
    ssh.keepalive_interval = settings.keepalive_interval;
    match &places.nix_sshopts {
        Some(value) => ssh.with_nix_sshopts(value).map_err(DaemonError::SshOpts),
        None => Ok(ssh),
    }
}

/// Above every lease of an earlier run, as long as the clock does not go back
/// further than the run was long: a run gives out fewer than one lease a
/// microsecond.
fn first_lease() -> LeaseId {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    LeaseId(u64::try_from(since.as_micros()).unwrap_or(1))
}

fn limits(settings: &Settings) -> Limits {
    Limits {
        max_silent: settings.max_silent_time,
        timeout: settings.timeout,
        max_log: settings.max_log_size,
    }
}

/// Brings the builders file up to date, if `musher setup` has put it there for
/// this coordinator.
fn refresh_builders(places: &DaemonPlaces, specs: &[MachineSpec]) {
    let Some((path, entrance)) = &places.builders else {
        return;
    };
    match fs::read_to_string(path) {
        Ok(text) if leads_to(&text, entrance) => {}
        Ok(_) => {
            debug!(path = %path.display(), "the builders file leads to another coordinator");
            return;
        }
        // Nobody has set Nix up.
        Err(_) => return,
    }
    match write_builders_file(path, &capability_classes(specs), entrance) {
        Ok(true) => info!(path = %path.display(), "builders file brought up to date"),
        Ok(false) => {}
        Err(error) => {
            warn!(path = %path.display(), error = crate::error_text(&error), "builders file left as it was");
        }
    }
}

fn reloader(places: DaemonPlaces, reach: Reach, core: CoreHandle) -> ReloadConfig {
    Arc::new(move || {
        let (places, reach, core) = (places.clone(), reach.clone(), core.clone());
        Box::pin(async move {
            let config =
                Config::load_fleet(&places.config).map_err(|error| crate::error_text(&error))?;
            let setups =
                machine_setups(&config, &reach).map_err(|error| crate::error_text(&error))?;
            let specs: Vec<_> = setups.values().map(|setup| setup.spec.clone()).collect();
            let changes = core.ask(|reply| Command::Configure {
                machines: setups,
                reply,
            });
            let changes = changes.await.map_err(|gone| gone.to_string())?;
            refresh_builders(&places, &specs);
            Ok(changes)
        })
    })
}
