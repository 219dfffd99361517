//! `musher daemon`

use std::env;
use std::fs::File;
use std::io::{self, Write as _};
use std::time::Duration;

use clap::Args;
use musher_coordinator::setup::Entrance;
use musher_coordinator::{DaemonError, DaemonPlaces, Lifetime};
use tokio::runtime;

use crate::context::Context;
use crate::coordinator::on_demand::READY;
use crate::failure::Failure;
use crate::outcome::Outcome;

/// Run the coordinator: it decides where builds run, and keeps the machines connected
///
/// Stops cleanly on SIGTERM and SIGINT; reads its configuration again on SIGHUP.
#[derive(Debug, Args)]
pub(crate) struct DaemonArgs {
    /// Leave the terminal, say `ready` once it listens, and end when nobody needs it any more
    #[arg(long, hide = true)]
    on_demand: bool,
    /// How long to wait for another client once the last one left
    #[arg(long, hide = true, value_name = "SECONDS", default_value_t = 30)]
    linger: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot start the runtime")]
struct NoRuntime {
    source: io::Error,
}

impl DaemonArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Failure> {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|source| Failure::environment(NoRuntime { source }))?;
        let lifetime = match self.on_demand {
            true => Lifetime::OnDemand(Duration::from_secs(self.linger)),
            false => Lifetime::UntilStopped,
        };
        if self.on_demand {
            // Ctrl-C is for who started it. Where it leads a session already
            // there is nothing to leave.
            let _ = rustix::process::setsid();
        }
        let ready = || {
            if self.on_demand {
                say_ready();
            }
        };
        runtime.block_on(musher_coordinator::run(places(context), lifetime, ready))?;
        Ok(Outcome::Done)
    }
}

/// Tells whoever started it that it listens, and lets go of the pipe.
fn say_ready() {
    // It may be gone; there are others.
    let mut out = io::stdout().lock();
    let _ = out.write_all(READY.as_bytes()).and_then(|()| out.flush());
    if let Ok(null) = File::open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(null);
    }
}

fn places(context: &Context) -> DaemonPlaces {
    let places = &context.places;
    let options: Vec<&str> = places.options.iter().map(String::as_str).collect();
    // Without an entrance, or a place for it, `setup` cannot have written the file
    // either.
    let entrance = env::current_exe()
        .ok()
        .and_then(|program| Entrance::new(&program, &options).ok());
    let builders = places.nix_conf_dir().ok();
    let builders = builders.map(|dir| dir.join("musher-builders"));
    DaemonPlaces {
        config: places.config.clone(),
        run: places.run.clone(),
        state: places.state.clone(),
        builders: builders.zip(entrance),
        nix_sshopts: env::var("NIX_SSHOPTS").ok(),
    }
}

impl From<DaemonError> for Failure {
    fn from(error: DaemonError) -> Self {
        let help = error.help();
        let failure = match error {
            DaemonError::Config(error) => return error.into(),
            DaemonError::Fleet(_)
            | DaemonError::SshOpts(_)
            | DaemonError::Running { .. }
            | DaemonError::Shared { .. } => Self::user(error),
            DaemonError::Home(_)
            | DaemonError::Control(_)
            | DaemonError::File { .. }
            | DaemonError::Serve(_) => Self::environment(error),
        };
        failure.help(help)
    }
}
