//! `musher build`

mod add;
mod document;
mod links;
mod nix;
mod record;
mod run;
mod summary;
mod target;

use std::path::PathBuf;

use clap::Args;
use musher_api::coordinator as api;
use musher_api::coordinator::realise_event::Event;
use nix_derivation::StoreDir;

use self::add::Wanted;
use self::links::Links;
use self::run::Run;
use self::target::Target;
use crate::context::Context;
use crate::coordinator::Coordinator;
use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::runtime::{block_on, until_signal};

/// Build derivations on the machines, and bring their outputs home
///
/// A target is a derivation of the home store (`/nix/store/….drv`, with `^out,dev`
/// for some outputs only), a file with derivations as JSON (`….json`, see
/// docs/formats/derivations.md), or, where `nix` is installed, a flake reference.
/// Prints where the outputs of the targets lie. Starts a coordinator if none runs.
#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// What to build
    targets: Vec<String>,
    #[command(flatten)]
    expression: Expression,
    /// The name of the link to the first output
    #[arg(long, short, value_name = "LINK", default_value = "result")]
    out_link: PathBuf,
    /// Make no link; the outputs may be collected at any time
    #[arg(long, conflicts_with = "out_link")]
    no_link: bool,
    /// Print what the build programs say
    #[arg(long, short = 'L')]
    print_build_logs: bool,
    /// Go on with what can be built once something failed
    #[arg(long, short)]
    keep_going: bool,
    /// Keep the build directories of failed builds on their machines
    #[arg(long, short = 'K')]
    keep_failed: bool,
    /// Build what the home store could fetch from its substituters
    #[arg(long)]
    no_substitutes: bool,
    /// Stop a build that says nothing for this long
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 0,
        hide_default_value = true
    )]
    max_silent_time: u64,
    /// Stop a build that takes this long
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 0,
        hide_default_value = true
    )]
    timeout: u64,
}

/// A Nix expression to build something of.
#[derive(Debug, Args)]
struct Expression {
    /// Build attributes of the Nix expression in this file
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Which attribute; may be given several times
    #[arg(long = "attr", short = 'A', value_name = "ATTR", requires = "file")]
    attributes: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
enum BuildError {
    #[error("nothing to build was named")]
    NoTarget,
    #[error("the coordinator named a bad store directory `{dir}`")]
    StoreDir {
        dir: String,
        source: nix_derivation::store_path::Error,
    },
    #[error("the coordinator hung up")]
    HungUp,
}

/// The home store as this command needs to know it.
struct Home {
    store_dir: StoreDir,
    /// Where its files are.
    real_dir: Option<PathBuf>,
}

impl Home {
    async fn ask(coordinator: &mut Coordinator) -> Result<Self, Failure> {
        let reply = coordinator.home().await?;
        let dir = reply.store_dir;
        let store_dir = StoreDir::new(dir.clone());
        let store_dir = store_dir
            .map_err(|source| Failure::environment(BuildError::StoreDir { dir, source }))?;
        let real_dir = Some(reply.real_dir).filter(|dir| !dir.is_empty());
        Ok(Self {
            store_dir,
            real_dir: real_dir.map(PathBuf::from),
        })
    }

    /// Where the files of an absolute store path are; the path itself if they
    /// are on another host.
    fn real_path(&self, path: &str) -> PathBuf {
        let base = path.strip_prefix(self.store_dir.as_str());
        let base = base.and_then(|base| base.strip_prefix('/'));
        match (&self.real_dir, base) {
            (Some(dir), Some(base)) => dir.join(base),
            (Some(_) | None, _) => PathBuf::from(path),
        }
    }
}

impl BuildArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Failure> {
        if self.targets.is_empty() && self.expression.file.is_none() {
            let help = "`musher build --help` tells what can be";
            return Err(Failure::user(BuildError::NoTarget).help(help.to_owned()));
        }
        block_on(until_signal(self.build(context)))
    }

    async fn build(&self, context: &Context) -> Result<Outcome, Failure> {
        // Whoever mistyped one need not wait for workers and stores to start.
        let targets = self.read_targets().await?;
        let mut coordinator = Coordinator::connect_or_start(&context.places).await?;
        let home = Home::ask(&mut coordinator).await?;
        let mut wanted = Vec::new();
        for target in targets {
            wanted.extend(target.find(context, &mut coordinator, &home).await?);
        }
        if !self.no_link {
            links::check(&self.out_link, &wanted)?;
        }
        let request = self.request(&home.store_dir, &wanted);
        let mut run = Run::new(context.ui, self.print_build_logs);
        let mut events = coordinator.realise(request).await?;
        let done = loop {
            let event = tokio::select! {
                event = events.message() => event,
                () = run.pause() => {
                    run.draw();
                    continue;
                }
            };
            let event = event.map_err(|status| coordinator.broken(status))?;
            let event = event.ok_or_else(|| Failure::environment(BuildError::HungUp))?;
            let Some(event) = event.event else {
                // Of a kind that this release does not know.
                continue;
            };
            run.hear(&event)?;
            if let Event::Done(done) = event {
                break done;
            }
        };
        // The stream is still open: until it is not, nothing is collected.
        let mut links = Links::default();
        let linked = match self.no_link {
            true => Ok(()),
            false => {
                let name = &self.out_link;
                links::make(&mut links, &mut coordinator, &home, name, &done).await
            }
        };
        // What was built is told also if a link to it could not be made.
        let outcome = run.finish(&home, &links, &done)?;
        linked.map(|()| outcome)
    }

    async fn read_targets(&self) -> Result<Vec<Target>, Failure> {
        let mut targets = Vec::new();
        for target in &self.targets {
            targets.push(Target::read(target).await?);
        }
        if let Some(file) = &self.expression.file {
            targets.push(Target::expression(file, &self.expression.attributes).await?);
        }
        Ok(targets)
    }

    fn request(&self, store_dir: &StoreDir, wanted: &[Wanted]) -> api::RealiseRequest {
        let roots = wanted.iter().map(|wanted| api::Root {
            drv_path: store_dir.render_path(&wanted.drv_path),
            outputs: wanted.outputs.iter().cloned().collect(),
        });
        api::RealiseRequest {
            request_id: format!("{:032x}", rand::random::<u128>()),
            roots: roots.collect(),
            keep_going: self.keep_going,
            limits: Some(api::Limits {
                max_silent_seconds: self.max_silent_time,
                timeout_seconds: self.timeout,
                max_log_bytes: 0,
            }),
            no_substitutes: self.no_substitutes,
            keep_failed: self.keep_failed,
            check: false,
            explain: true,
        }
    }
}
