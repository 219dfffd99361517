//! `musher store copy`

pub(in crate::commands) mod closure;
mod meter;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use musher_store::url::StoreUrl;
use musher_store::{Store, Substitute};
use serde::Serialize;

use self::closure::{closure, missing};
use self::meter::Metered;
use super::paths::parse_paths;
use crate::context::Context;
use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::remotes::{ConnectArgs, Remotes, parse_url, place, store_failure, with_remotes};
use crate::ui::{Ui, quantity};

/// Copy paths, with all they refer to, from one store to another
///
/// What is valid in the destination is not sent again. What was copied before an
/// interruption stays there.
#[derive(Debug, Args)]
pub(crate) struct CopyArgs {
    /// The paths, something inside of them, or links to them
    #[arg(required = true)]
    paths: Vec<String>,
    #[command(flatten)]
    ends: Ends,
    /// Let the destination fetch what it can from its own substituters first
    #[arg(long)]
    substitute: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Between which stores; one of them may be left out.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Ends {
    /// The store to copy from [default: auto]
    #[arg(long, value_name = "URL")]
    from: Option<String>,
    /// The store to copy to [default: auto]
    #[arg(long, value_name = "URL")]
    to: Option<String>,
}

#[derive(Debug, thiserror::Error)]
#[error("the stores keep their paths in different directories, `{from}` and `{to}`")]
struct OtherStoreDir {
    from: String,
    to: String,
}

/// What a copy did, in JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct CopyRecord {
    /// The paths sent, in the order they were.
    copied: Vec<String>,
    /// How many of the closure were there.
    already_valid: usize,
    /// Of NARs.
    bytes: u64,
    duration_ms: u64,
}

/// A store and its URL, for messages.
struct End {
    url: StoreUrl,
    store: Arc<dyn Store>,
    /// Where its paths lie, if we look after it ourselves.
    real_dir: Option<PathBuf>,
}

impl CopyArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Failure> {
        let from = parse_url(self.ends.from.as_deref().unwrap_or("auto"))?;
        let to = parse_url(self.ends.to.as_deref().unwrap_or("auto"))?;
        let record = with_remotes(context, &self.connect, async |remotes| {
            let from = End::open(remotes, from)?;
            let to = End::open(remotes, to)?;
            self.copy(context.ui, &from, &to).await
        })?;
        if context.ui.json {
            context.ui.json(&record)?;
        }
        Ok(Outcome::Done)
    }

    async fn copy(&self, ui: Ui, from: &End, to: &End) -> Result<CopyRecord, Failure> {
        let started = Instant::now();
        let store_dir = from.store.store_dir();
        if store_dir != to.store.store_dir() {
            return Err(Failure::user(OtherStoreDir {
                from: store_dir.to_string(),
                to: to.store.store_dir().to_string(),
            }));
        }
        let roots = parse_paths(store_dir, from.real_dir.as_deref(), &self.paths)?;
        let infos = closure(&*from.store, roots)
            .await
            .map_err(|error| store_failure("read the closure from", &from.url, error))?;
        let all = infos.len();
        let substitute = match self.substitute {
            true => Substitute::Allowed,
            false => Substitute::No,
        };
        let infos = missing(&*to.store, infos, substitute)
            .await
            .map_err(|error| store_failure("ask what is valid in", &to.url, error))?;

        let source = Metered::new(from.store.clone(), &infos, ui.progress());
        let copied = to.store.import(&infos, &source).await;
        let source_failed = source.finish();
        copied.map_err(|error| match source_failed {
            true => store_failure("read from", &from.url, error),
            false => store_failure("copy to", &to.url, error),
        })?;

        let duration = started.elapsed();
        let bytes = infos.iter().map(|info| info.nar_size).sum();
        ui.note(&match infos.len() {
            0 => format!("all {all} paths are valid in `{}`", place(&to.url)),
            count => format!(
                "copied {count} of {all} paths, {}, in {}",
                quantity::size(bytes),
                quantity::duration(duration)
            ),
        });
        Ok(CopyRecord {
            copied: infos
                .iter()
                .map(|info| store_dir.render_path(&info.path))
                .collect(),
            already_valid: all - infos.len(),
            bytes,
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        })
    }
}

impl End {
    fn open(remotes: &Remotes, url: StoreUrl) -> Result<Self, Failure> {
        let store = remotes.store(&url)?;
        let real_dir = remotes.own(&url)?.map(|own| own.real_store_dir());
        Ok(Self {
            url,
            store,
            real_dir,
        })
    }
}
