//! `cargo xtask faults`: builders that fall silent, clients that go away, a
//! daemon that is killed. Knows the trials; what each does stands in `builders`,
//! `clients` and `ahead`, with what they share in `scene`.

mod ahead;
mod builders;
mod clients;
mod scene;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use self::scene::Scene;
use crate::{
    cargo::{self, Profile},
    ui,
};

/// Let things go wrong during builds, and see that they end well
#[derive(Args)]
pub(crate) struct FaultsArgs {
    /// Only these
    #[arg(value_enum)]
    trials: Vec<Trial>,
    /// Musher as it is released, which takes longer to compile
    #[arg(long)]
    release: bool,
    /// By stock remote building, without Musher, for comparison
    #[arg(long, hide = true)]
    stock: bool,
}

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Trial {
    /// One builder's sshd is stopped, and nothing is closed
    Stopped,
    /// One builder's cable is pulled
    Unreachable,
    /// One builder closes its connections and refuses the key from then on
    Refused,
    /// Garbage is collected on the builders all the time
    Garbage,
    /// 100 builds fail between 100 that do not, 50 ms away
    Failing,
    /// The client is interrupted during a build
    InterruptedBuild,
    /// The client is interrupted while inputs are sent
    InterruptedUpload,
    /// The daemon is killed during builds, and started again
    Killed,
    /// The client stands still while what it will ask for is built
    Ahead,
}

impl Trial {
    fn perform(self, scene: &Scene) -> Result<()> {
        match self {
            Self::Stopped => builders::stopped(scene),
            Self::Unreachable => builders::unreachable(scene),
            Self::Refused => builders::refused(scene),
            Self::Garbage => builders::garbage(scene),
            Self::Failing => builders::failing(scene),
            Self::InterruptedBuild => clients::interrupted_build(scene),
            Self::InterruptedUpload => clients::interrupted_upload(scene),
            Self::Killed => clients::killed(scene),
            Self::Ahead => ahead::ahead(scene),
        }
    }
}

/// Performs the trials asked for, all of them even when one fails.
pub(crate) fn run(args: &FaultsArgs) -> Result<()> {
    let musher = if args.stock {
        None
    } else {
        Some(cargo::build_musher(Profile::release_if(args.release))?)
    };
    let trials = if args.trials.is_empty() {
        Trial::value_variants()
    } else {
        &args.trials
    };
    let mut failed = 0;
    for trial in trials {
        let name = trial
            .to_possible_value()
            .map(|value| value.get_name().to_owned());
        let outcome = ui::step(&name.unwrap_or_default(), || {
            trial.perform(&Scene::set(musher.clone())?)
        });
        if let Err(error) = outcome {
            ui::error(&error);
            failed += 1;
        }
    }
    if failed > 0 {
        bail!("{failed} of {} trials failed", trials.len());
    }
    Ok(())
}
