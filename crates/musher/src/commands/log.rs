//! `musher log`

use clap::Args;
use futures_util::StreamExt as _;

use crate::context::Context;
use crate::coordinator::Coordinator;
use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::places::absolute;
use crate::runtime::{block_on, until_signal};

/// Print the log of a derivation's newest build, or follow it while it runs
///
/// Logs are kept by the coordinator that had the build made, until there is too
/// much of them. What is printed is what the build program wrote, and lines that
/// begin with `@nix`, which tell the phase.
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// The derivation, an output of it, something inside of one, or a link to it
    path: String,
}

#[derive(Debug, thiserror::Error)]
#[error("`{path}` is not in the home store, which is below `{store_dir}`")]
struct Elsewhere {
    path: String,
    store_dir: String,
}

impl LogArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Failure> {
        block_on(until_signal(self.print(context)))
    }

    async fn print(&self, context: &Context) -> Result<Outcome, Failure> {
        let mut coordinator = Coordinator::connect_or_start(&context.places).await?;
        let home = coordinator.home().await?;
        let path = self.store_path(&home.store_dir, &home.real_dir)?;
        let mut chunks = coordinator.read_log(path).await?;
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|status| coordinator.broken(status))?;
            context.ui.bytes(&chunk.bytes)?;
        }
        Ok(Outcome::Done)
    }

    /// The store path that the argument is, lies in or leads to.
    fn store_path(&self, store_dir: &str, real_dir: &str) -> Result<String, Failure> {
        let given = absolute(std::path::Path::new(&self.path))?;
        let real = std::fs::canonicalize(&given).unwrap_or_else(|_| given.clone());
        for place in [&given, &real] {
            for dir in [store_dir, real_dir] {
                let inside = place.strip_prefix(dir).ok().filter(|_| !dir.is_empty());
                let base = inside.and_then(|inside| inside.components().next());
                if let Some(base) = base {
                    let base = base.as_os_str().to_string_lossy();
                    return Ok(format!("{store_dir}/{base}"));
                }
            }
        }
        Err(Failure::user(Elsewhere {
            path: self.path.clone(),
            store_dir: store_dir.to_owned(),
        }))
    }
}
