//! `cargo xtask store`: real Nix of several versions with Musher as its store,
//! on a host whose builds are made on another one without Nix. What a nix-daemon
//! would do with the same has to happen.

mod scene;

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::Args;

use self::scene::Scene;
use crate::{
    cargo::{self, Profile},
    hosts::{host::Spec, suite::Suite, team::Team},
    interop, ui,
};

/// Have stock Nix use Musher as its store
#[derive(Args)]
pub(crate) struct StoreArgs {
    /// Only clients of this Debian
    #[arg(long, value_enum)]
    client: Option<Suite>,
    /// Musher as it is released, which takes longer to compile
    #[arg(long)]
    release: bool,
}

impl StoreArgs {
    /// What CI checks.
    pub(crate) fn all() -> Self {
        Self {
            client: None,
            release: false,
        }
    }
}

/// Goes through every story with every client, whatever fails.
pub(crate) fn run(args: &StoreArgs) -> Result<()> {
    let musher = cargo::build_musher(Profile::release_if(args.release))?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let nonce = since.context("no time")?.as_nanos().to_string();
    let mut failed = 0;
    let suites = Suite::ALL.into_iter();
    for suite in suites.filter(|suite| args.client.is_none_or(|client| client == *suite)) {
        let bare = Spec::new(interop::BARE, Suite::Bookworm).bare();
        let team = Team::start(Spec::new("client", suite), vec![bare])?;
        let scene = Scene::prepare(&team, &musher, &nonce)?;
        for (name, story) in Scene::STORIES {
            let started = Instant::now();
            let told = story(&scene);
            let verdict = if told.is_ok() { "ok" } else { "FAILED" };
            let took = ui::seconds(started.elapsed());
            ui::say(format!("{}, {name}: {verdict} in {took}", suite.name()));
            if let Err(error) = told {
                failed += 1;
                ui::say(format!(
                    "  {}",
                    format!("{error:#}").replace('\n', "\n    ")
                ));
            }
        }
        if failed > 0 {
            ui::say(format!("the coordinator said\n{}", scene.log()));
        }
    }
    if failed > 0 {
        bail!("{failed} stories failed");
    }
    Ok(())
}
