//! `musher machine test`

mod build;
mod peer;
mod report;
mod sample;
mod trial;
mod versions;

use std::time::Duration;

use clap::Args;
use futures_util::future::join_all;
use musher_coordinator::config::{Config, Machine, Settings};
use tokio::sync::{Semaphore, mpsc};

pub(super) use self::build::{BuildError, Trivial};
pub(super) use self::peer::Peer;
use self::report::Report;
use self::trial::Trial;
pub(super) use self::trial::built_in;
use super::lookup::{machine, note_default};
use crate::check::Check;
use crate::context::Context;
use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::remotes::{ConnectArgs, Remotes, with_remotes};
use crate::ui::Ui;

/// As long as the longest name of a step.
const STEP_WIDTH: usize = "round trip".len();

/// Try machines out: connect, copy a path there and back, and build a little
///
/// Says what was measured: the time to connect, the round trip, versions, trust,
/// the rates of copying, and the time of a trivial build. What is copied and
/// built there (some 4 MiB) is garbage afterwards, which Nix collects in time.
/// The exit code is 1 if a machine fails.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    #[command(flatten)]
    which: Which,
    /// How long each step may take [default: 60]
    #[arg(long, value_name = "SECONDS", default_value_t = 60, hide_default_value = true,
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// The machines to test.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// The machines
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Every machine of the fleet
    #[arg(long)]
    all: bool,
}

impl TestArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Failure> {
        let config = context.fleet()?;
        let machines = self.which.machines(&config)?;
        note_default(context, &config);
        let reports = with_remotes(context, &self.connect, async |remotes| {
            Ok(self
                .test(context.ui, remotes, &config.settings, &machines)
                .await)
        })?;
        if context.ui.json {
            context.ui.json(&reports)?;
        }
        Ok(Outcome::of(reports.iter().all(|report| report.passed)))
    }

    /// Tests all at once, and tells of one after the other.
    async fn test(
        &self,
        ui: Ui,
        remotes: &Remotes,
        settings: &Settings,
        machines: &[&Machine],
    ) -> Vec<Report> {
        let here = versions::nix_of_this_host().await;
        // One copy at a time, or they would measure each other.
        let copying = Semaphore::new(1);
        let limit = Duration::from_secs(self.timeout);
        let width = machines.iter().map(|m| m.name.as_str().len()).max();
        let width = width.unwrap_or(0);

        let mut trials = Vec::new();
        let mut stories = Vec::new();
        for machine in machines {
            let (tell, story) = mpsc::unbounded_channel();
            let trial = Trial {
                machine,
                remotes,
                copying: &copying,
                limit,
                sandbox_paths: settings.sandbox_paths(Some(machine)),
                nix_here: here.as_deref(),
            };
            trials.push(trial.run(tell));
            stories.push((machine.name.as_str(), story));
        }
        let (reports, ()) = tokio::join!(join_all(trials), tell(ui, stories, width));
        reports
    }
}

impl Which {
    fn machines<'a>(&self, config: &'a Config) -> Result<Vec<&'a Machine>, Failure> {
        if self.all {
            return Ok(config.machines().iter().collect());
        }
        self.names
            .iter()
            .map(|name| machine(config, name))
            .collect()
    }
}

/// Prints each machine's steps as they come, machine by machine.
async fn tell(ui: Ui, stories: Vec<(&str, mpsc::UnboundedReceiver<Check>)>, width: usize) {
    for (name, mut steps) in stories {
        while let Some(step) = steps.recv().await {
            // A reader who has gone does not stop the test: it has an exit code.
            if !ui.json
                && ui
                    .text(&step.text(&format!("{name:width$}  "), STEP_WIDTH))
                    .is_err()
            {
                return;
            }
        }
    }
}
