//! `musher serve`

use std::env;
use std::fs::{Metadata, metadata};
use std::io::stdin;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use musher_coordinator::DaemonPlaces;
use musher_protocol::worker::Trust;
use musher_serve::{
    Entrance, Input, Output, Protocol, ServeError, SessionConfig, StartCoordinator, served_protocol,
};
use musher_store::{OpenError, open_here, own_home, own_store};
use rustix::process::geteuid;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::context::Context;
use crate::coordinator::Coordinator;
use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::places::Places;

/// Serve one Nix client on standard input and output
///
/// Stock Nix starts it for each build, by the builders file that `musher setup`
/// writes. As a forced command in `authorized_keys` it serves what the client
/// wanted to run, if that was Nix's, and trusts nobody.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Speak over standard input and output; there is no other way
    #[arg(long)]
    stdio: bool,
    /// Speak the serve protocol instead, as `nix-store --serve --write` does
    #[arg(long, hide = true, requires = "write")]
    serve: bool,
    /// Take what the client sends; it is always taken
    #[arg(long, hide = true, requires = "serve")]
    write: bool,
    /// Trust the client of a forced command as Nix trusts its `trusted-users`: it may add what nobody
    /// has signed, and have anything built
    #[arg(long)]
    trusted: bool,
    /// The capability class that the client counts this build for
    #[arg(long, value_name = "NAME")]
    class: Option<String>,
    /// Be the client's store, and have what it wants built as one graph, instead of one of its
    /// builders; a forced command always is
    #[arg(long, conflicts_with = "class")]
    store: bool,
    /// Standard input is the client's socket, for both directions
    #[arg(long, hide = true, requires = "store")]
    socket: bool,
    /// Trust the client as little as any stranger
    #[arg(long, hide = true, requires = "socket")]
    untrusted: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("`musher serve` needs `--stdio`")]
struct NoStdio;

#[derive(Debug, thiserror::Error)]
#[error("cannot prepare the session")]
struct NoSession {
    source: std::io::Error,
}

impl ServeArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Failure> {
        let forced = env::var("SSH_ORIGINAL_COMMAND").ok();
        let protocol = match &forced {
            Some(command) => served_protocol(command).map_err(|error| {
                let help = error.help();
                Failure::user(error).help(help)
            })?,
            None if self.serve && self.write => Protocol::Serve,
            None if self.stdio || self.socket => Protocol::Worker,
            None => {
                let help = "it is for Nix to start; `musher setup` makes Nix do so".to_owned();
                return Err(Failure::user(NoStdio).help(help));
            }
        };
        tracing::debug!(class = self.class, ?protocol, "session begins");
        let settings = context.config()?.settings;
        let own_home = own_home(&settings.home_store, &context.places.state)?;
        let timeout = settings.connect_timeout;
        let is_remote = env::var_os("SSH_CONNECTION").is_some();
        let config = SessionConfig {
            control_socket: coordinators_socket(&context.places.run),
            // Who counts its builds by class is a client's build hook.
            entrance: match self.store || forced.is_some() || (is_remote && self.class.is_none()) {
                true => Entrance::Store,
                false => Entrance::Hook,
            },
            start_coordinator: own_home.is_some().then(|| starter(&context.places)),
            own_home: own_home.is_some(),
            home: match own_home {
                Some(options) => own_store(options, settings.trusted_public_keys.into(), timeout),
                None => open_here(&settings.home_store, timeout)?,
            },
            // A key alone makes nobody trusted.
            trust: (forced.is_some() || self.untrusted).then_some(match self.trusted {
                true => Trust::Trusted,
                false => Trust::NotTrusted,
            }),
            remote: is_remote,
        };
        let io = |source| Failure::environment(NoSession { source });
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(io)?;
        let served = runtime.block_on(async {
            let output = match self.socket {
                true => stdin().as_fd().try_clone_to_owned().and_then(Output::new),
                false => Output::stdout(),
            };
            let (input, output) = (Input::stdin().map_err(io)?, output.map_err(io)?);
            let mut terminate = signal(SignalKind::terminate()).map_err(io)?;
            let mut interrupt = signal(SignalKind::interrupt()).map_err(io)?;
            let mut hangup = signal(SignalKind::hangup()).map_err(io)?;
            tokio::select! {
                served = musher_serve::run(config, protocol, input, output) => Ok(served?),
                _ = terminate.recv() => Ok(()),
                _ = interrupt.recv() => Ok(()),
                _ = hangup.recv() => Ok(()),
            }
        });
        // A thread may still wait for the client; it has nothing more to say.
        runtime.shutdown_background();
        served.map(|()| Outcome::Done)
    }
}

/// The socket on which the coordinator hears this user, whose files `run` holds
/// if they are root or the coordinator's own user.
fn coordinators_socket(run: &Path) -> PathBuf {
    let own = |meta: Metadata| meta.uid() == geteuid().as_raw();
    // Where there is no directory yet, a coordinator of this user makes it.
    match geteuid().is_root() || metadata(run).map_or(true, own) {
        true => DaemonPlaces::control_socket(run),
        false => DaemonPlaces::users_socket(run),
    }
}

/// Where no Nix is installed nobody needs a coordinator before something is to
/// be built.
fn starter(places: &Places) -> StartCoordinator {
    let places = places.clone();
    Box::new(move || {
        let places = places.clone();
        Box::pin(async move {
            let started = Coordinator::connect_or_start(&places).await;
            started
                .map(drop)
                .map_err(|failure| failure.texts().join(": "))
        })
    })
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Self {
        let help = error.help();
        Self::environment(error).help(help)
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Self::user(error)
    }
}
