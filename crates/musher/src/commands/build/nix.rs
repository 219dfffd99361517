//! Where `nix` is installed: from expressions and flake references to
//! derivations, and these into the home store if that is another.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use musher_store::url::{LocalParams, StoreUrl};
use musher_store::{OpenError, Store, open_here};
use nix_derivation::StorePath;
use tokio::process::Command;

use super::Home;
use super::add::{Item, Wanted, add};
use super::target::outputs;
use crate::commands::store::copy::closure::closure;
use crate::context::Context;
use crate::coordinator::Coordinator;
use crate::failure::Failure;
use crate::remotes::store_failure;

/// What `nix` needs to be told where these are still experimental.
const FEATURES: &str = "nix-command flakes";

#[derive(Debug, thiserror::Error)]
enum NixError {
    #[error("cannot run `{program}`")]
    Run {
        program: &'static str,
        source: io::Error,
    },
    #[error("`{program}` failed; what it says stands above")]
    Failed { program: &'static str },
    #[error("`{program}` printed `{line}`, which is no derivation")]
    Line { program: &'static str, line: String },
    #[error("cannot open this machine's Nix store")]
    Open { source: OpenError },
}

impl NixError {
    /// Whether Nix is not installed.
    fn is_absence(&self) -> bool {
        match self {
            Self::Run { source, .. } => source.kind() == io::ErrorKind::NotFound,
            Self::Failed { .. } | Self::Line { .. } | Self::Open { .. } => false,
        }
    }
}

impl From<NixError> for Failure {
    fn from(error: NixError) -> Self {
        let is_absence = error.is_absence();
        let is_users = is_absence || matches!(error, NixError::Failed { .. });
        let help = is_absence.then(|| "Nix expressions need Nix on this host".to_owned());
        Self::of(is_users, error).help(help)
    }
}

/// The derivations of `attributes` of the expression in `file`; of the whole if
/// none is named.
pub(super) async fn instantiate(
    file: &Path,
    attributes: &[String],
) -> Result<Vec<String>, Failure> {
    let mut command = Command::new("nix-instantiate");
    command.arg(file);
    for attribute in attributes {
        command.args(["-A", attribute]);
    }
    Ok(derivations("nix-instantiate", command).await?)
}

/// The derivations of a flake reference, which may name outputs; none where no
/// `nix` is installed.
pub(super) async fn flake(reference: &str) -> Result<Option<Vec<String>>, Failure> {
    let (reference, named) = match reference.rsplit_once('^') {
        Some((reference, outputs)) => (reference, format!("^{outputs}")),
        None => (reference, String::new()),
    };
    let mut command = Command::new("nix");
    command.args(["--extra-experimental-features", FEATURES]);
    command.args(["path-info", "--derivation", "--", reference]);
    let found = match derivations("nix", command).await {
        Err(error) if error.is_absence() => return Ok(None),
        found => found?,
    };
    Ok(Some(found.into_iter().map(|drv| drv + &named).collect()))
}

/// What `program` prints, a derivation a line.
async fn derivations(program: &'static str, mut command: Command) -> Result<Vec<String>, NixError> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await;
    let output = output.map_err(|source| NixError::Run { program, source })?;
    if !output.status.success() {
        return Err(NixError::Failed { program });
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().map(|line| {
        // `nix-instantiate` appends the output that was meant.
        let (drv, named) = match line.split_once('!') {
            Some((drv, output)) => (drv, format!("^{output}")),
            None => (line, String::new()),
        };
        match drv.ends_with(".drv") {
            true => Ok(format!("{drv}{named}")),
            false => Err(NixError::Line {
                program,
                line: line.to_owned(),
            }),
        }
    });
    lines.collect()
}

/// Makes sure that derivations of this machine's Nix store, which may name
/// outputs, are in the home store with all they come from.
pub(super) async fn bring(
    context: &Context,
    coordinator: &mut Coordinator,
    home: &Home,
    derivations: Vec<String>,
) -> Result<Vec<Wanted>, Failure> {
    let mut wanted = Vec::new();
    for derivation in &derivations {
        let (drv, outputs) = outputs(derivation);
        let drv_path = home.store_dir.parse_path(drv.as_bytes());
        let drv_path = drv_path.map_err(|_| {
            let line = drv.to_owned();
            NixError::Line {
                program: "nix",
                line,
            }
        })?;
        wanted.push(Wanted { drv_path, outputs });
    }
    let paths = wanted
        .iter()
        .map(|wanted| home.store_dir.render_path(&wanted.drv_path));
    let valid = coordinator.valid_paths(paths.collect()).await?;
    let is_missing = |path: &StorePath| !valid.contains(&home.store_dir.render_path(path));
    let missing: Vec<_> = (wanted.iter())
        .map(|wanted| wanted.drv_path.clone())
        .filter(is_missing)
        .collect();
    if !missing.is_empty() {
        let items = from_here(context, missing).await?;
        add(coordinator, home, items).await?;
    }
    Ok(wanted)
}

/// Derivations of this machine's Nix store with all they come from.
async fn from_here(context: &Context, roots: Vec<StorePath>) -> Result<Vec<Item>, Failure> {
    let url = StoreUrl::Auto(LocalParams::default());
    let timeout = context.config()?.settings.connect_timeout;
    let store = open_here(&url, timeout);
    let store = store.map_err(|source| NixError::Open { source })?;
    let store: Arc<dyn Store> = Arc::new(store);
    let infos = closure(&*store, roots).await;
    let infos = infos.map_err(|error| store_failure("read derivations from", &url, error))?;
    Ok(infos
        .into_iter()
        .map(|info| Item::of_store(info, store.clone()))
        .collect())
}
