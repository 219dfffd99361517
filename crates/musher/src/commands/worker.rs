//! `musher worker`

use std::time::Duration;

use clap::Args;
use musher_serve::{Input, Output};
use musher_worker::process::{WorkerError, WorkerOptions, run};
use musher_worker::relay::Relay;
use tokio::runtime;

use crate::context::Context;
use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::runtime::block_on;

/// The threads that move bytes; what waits for disks has others.
const THREADS: usize = 4;

/// Build what a coordinator orders, in a store of this user's own
///
/// One process for each store does the work. It outlives the connections to it,
/// and ends when nobody has needed it for a while.
#[derive(Debug, Args)]
pub(crate) struct WorkerArgs {
    #[command(flatten)]
    role: Role,
    /// The most builds at once [default: as many as the coordinator asks for]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1024))]
    slots: Option<u32>,
    /// How long to stay when nobody needs it [default: 300]
    #[arg(long, value_name = "SECONDS", default_value_t = 300, hide_default_value = true,
          value_parser = clap::value_parser!(u64).range(0..=31_536_000))]
    linger: u64,
    /// What builds see of this machine: `TARGET[=SOURCE][?]`; `/bin/sh` is found by itself
    #[arg(long = "sandbox-path", value_name = "PATH")]
    sandbox_paths: Vec<String>,
    /// Build without a sandbox; every result says so
    #[arg(long)]
    no_sandbox: bool,
    /// Leave the session of whoever started it
    #[arg(long, hide = true, requires = "foreground")]
    detach: bool,
    /// Say `ready` on standard output, once
    #[arg(long, hide = true, requires = "foreground")]
    announce: bool,
    /// End with standard input
    #[arg(long, hide = true, requires = "foreground")]
    tied: bool,
}

/// Which of the two processes this is.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Role {
    /// Lead standard input and output to the worker, which is started if it does not run
    #[arg(long)]
    stdio: bool,
    /// Be the worker
    #[arg(long)]
    foreground: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot start the runtime")]
struct NoRuntime {
    source: std::io::Error,
}

impl WorkerArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Failure> {
        match self.role.stdio {
            true => self.relay(context),
            false => self.work(context),
        }
    }

    /// Whether it is the process that does the work.
    pub(crate) fn is_worker(&self) -> bool {
        self.role.foreground
    }

    fn relay(self, context: &Context) -> Result<Outcome, Failure> {
        let relay = Relay {
            places: context.places.worker.clone(),
            options: self.options(),
        };
        block_on(async {
            let io = |source| Failure::environment(NoRuntime { source });
            let (input, output) = (Input::stdin().map_err(io)?, Output::stdout().map_err(io)?);
            relay.run(input, output).await?;
            Ok(Outcome::Done)
        })
    }

    /// As a worker that is started is to be told.
    fn options(&self) -> Vec<String> {
        let mut options = vec![format!("--linger={}", self.linger)];
        options.extend(self.no_sandbox.then(|| "--no-sandbox".to_owned()));
        options.extend(self.slots.map(|slots| format!("--slots={slots}")));
        let paths = self.sandbox_paths.iter();
        options.extend(paths.map(|path| format!("--sandbox-path={path}")));
        options
    }

    fn work(self, context: &Context) -> Result<Outcome, Failure> {
        let options = WorkerOptions {
            places: context.places.worker.clone(),
            slots: self.slots,
            sandbox_paths: self.sandbox_paths,
            sandboxed: !self.no_sandbox,
            linger: Duration::from_secs(self.linger),
            detach: self.detach,
            announce: self.announce,
            tied: self.tied,
        };
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .enable_all()
            .build()
            .map_err(|source| Failure::environment(NoRuntime { source }))?;
        let ended = runtime.block_on(run(options));
        // A thread may still wait for input that never comes.
        runtime.shutdown_background();
        ended?;
        Ok(Outcome::Done)
    }
}

impl From<WorkerError> for Failure {
    fn from(error: WorkerError) -> Self {
        let help = error.help();
        Self::of(error.is_users(), error).help(help)
    }
}
