//! `musher daemon`

use std::env;

use clap::Args;
use musher_coordinator::setup::Entrance;
use musher_coordinator::{DaemonError, DaemonPlaces};
use tokio::runtime;

use crate::context::Context;
use crate::failure::Failure;
use crate::outcome::Outcome;

/// Run the coordinator: it decides where builds run, and keeps the machines connected
///
/// Stops cleanly on SIGTERM and SIGINT; reads its configuration again on SIGHUP.
#[derive(Debug, Args)]
pub(crate) struct DaemonArgs {}

#[derive(Debug, thiserror::Error)]
#[error("cannot start the runtime")]
struct NoRuntime {
    source: std::io::Error,
}

impl DaemonArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Failure> {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|source| Failure::environment(NoRuntime { source }))?;
        runtime.block_on(musher_coordinator::run(places(context)))?;
        Ok(Outcome::Done)
    }
}

fn places(context: &Context) -> DaemonPlaces {
    let places = &context.places;
    let options: Vec<&str> = places.options.iter().map(String::as_str).collect();
    // Without an entrance `setup` cannot have written the file either.
    let entrance = env::current_exe()
        .ok()
        .and_then(|program| Entrance::new(&program, &options).ok());
    let builders = places.nix_conf_dir.join("musher-builders");
    DaemonPlaces {
        config: places.config.clone(),
        run: places.run.clone(),
        state: places.state.clone(),
        builders: entrance.map(|entrance| (builders, entrance)),
        nix_sshopts: env::var("NIX_SSHOPTS").ok(),
    }
}

impl From<DaemonError> for Failure {
    fn from(error: DaemonError) -> Self {
        let help = error.help();
        let failure = match error {
            DaemonError::Config(error) => return error.into(),
            DaemonError::Fleet(_) | DaemonError::SshOpts(_) | DaemonError::Running { .. } => {
                Self::user(error)
            }
            DaemonError::Home(_)
            | DaemonError::Control(_)
            | DaemonError::File { .. }
            | DaemonError::Serve(_) => Self::environment(error),
        };
        failure.help(help)
    }
}
