//! The way home of a request's outputs: with all they refer to that is not
//! there yet, from the machines where they were built.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use musher_protocol::types::PathInfo;
use musher_store::local::LocalError;
use musher_store::{StoreError, references_first};
use nix_archive::nar;
use nix_derivation::StorePath;
use tracing::{debug, warn};

use super::arrivals::Arrivals;
use super::graph::Outputs;
use super::story::{Happened, Teller};
use crate::core::{Command, CoreHandle};
use crate::held_inputs::HeldInputs;
use crate::home::Home;
use crate::sources::Sources;

/// What came of bringing some roots' outputs home.
pub(super) struct CameHome {
    /// How it went for each.
    pub(super) roots: Vec<(StorePath, Way)>,
    /// Where the paths were.
    pub(super) held: HeldInputs,
}

/// How the way home of one root's outputs ended.
pub(super) enum Way {
    /// There.
    Home,
    /// Without these, which cannot be had from where they lie.
    Lost(BTreeSet<StorePath>),
    /// In this, in words.
    Failed(String),
}

/// Brings things home.
pub(super) struct Homeward {
    pub(super) core: CoreHandle,
    pub(super) home: Arc<Home>,
    pub(super) teller: Teller,
    /// All that lies on machines.
    pub(super) held: HeldInputs,
    /// The outputs of derivations whose paths nobody knew before.
    pub(super) unforeseen: BTreeMap<StorePath, Outputs>,
}

impl Homeward {
    /// Brings home what is not there: the outputs of `roots` that were built,
    /// and all they refer to that was. What goes wrong for one of them is no
    /// reason to leave the others where they are.
    pub(super) async fn bring(self, roots: BTreeMap<StorePath, Outputs>) -> CameHome {
        let mut ways = Vec::new();
        match self.bring_all(&roots).await {
            Way::Failed(_) if roots.len() > 1 => {
                for (drv, outputs) in roots {
                    let alone = BTreeMap::from([(drv.clone(), outputs)]);
                    ways.push((drv, self.bring_all(&alone).await));
                }
            }
            way @ (Way::Home | Way::Lost(_) | Way::Failed(_)) => {
                for (drv, outputs) in roots {
                    let way = match &way {
                        Way::Home => Way::Home,
                        Way::Failed(text) => Way::Failed(text.clone()),
                        // One that needs none of them is simply tried again.
                        Way::Lost(lost) => {
                            let needed = self.held.reachable(outputs.values());
                            let lost = lost.iter().filter(|path| needed.get(path).is_some());
                            Way::Lost(lost.cloned().collect())
                        }
                    };
                    ways.push((drv, way));
                }
            }
        }
        CameHome {
            roots: ways,
            held: self.held,
        }
    }

    /// The same, all or none of them. Only outputs that were declared by the
    /// derivations leased are among what comes, and each NAR is looked at.
    async fn bring_all(&self, roots: &BTreeMap<StorePath, Outputs>) -> Way {
        let coming = self
            .held
            .reachable(roots.values().flat_map(BTreeMap::values));
        let sources = Sources::new(self.home.clone(), self.held.clone(), self.core.clone());
        let arrivals = Arrivals::new(sources, self.held.clone());
        let Err(error) = self.import(&coming, &arrivals).await else {
            self.realise(&coming).await;
            return Way::Home;
        };
        let mut lost = arrivals.lost();
        let found_false = false_path(&error);
        lost.extend(coming.infos().map(|info| &info.path).find_map(|path| {
            let shown = self.home.store_dir().render_path(path);
            (found_false == Some(shown.as_str())).then(|| path.clone())
        }));
        for path in &lost {
            // Who asks for its build again must get a new one.
            let path = path.clone();
            self.core.send(Command::Unreadable { path }).await;
        }
        let error = crate::error_text(&error);
        if lost.is_empty() {
            warn!(error, "outputs cannot be imported");
            let text = format!("its outputs cannot be imported into the home store: {error}");
            return Way::Failed(text);
        }
        let count = lost.len();
        debug!(error, count, "outputs were lost on their way home");
        Way::Lost(lost)
    }

    /// Has the home store remember what became of outputs that nobody could
    /// foresee and that are there now: of roots, and of what came along.
    async fn realise(&self, there: &HeldInputs) {
        let realised: BTreeMap<_, Outputs> = (self.unforeseen.iter())
            .map(|(drv, outputs)| {
                let outputs = outputs.iter().filter(|(_, path)| there.get(path).is_some());
                let outputs = outputs.map(|(name, path)| (name.clone(), path.clone()));
                (drv.clone(), outputs.collect())
            })
            .filter(|(_, outputs): &(_, Outputs)| !outputs.is_empty())
            .collect();
        if let Err(error) = self.home.register_realisations(realised).await {
            let error = crate::error_text(&error);
            warn!(error, "realisations are not remembered");
        }
    }

    async fn import(&self, coming: &HeldInputs, arrivals: &Arrivals) -> Result<(), StoreError> {
        let paths = coming.infos().map(|info| info.path.clone()).collect();
        let valid = self.home.valid(&paths).await?;
        let missing: Vec<PathInfo> = (coming.infos())
            .filter(|info| !valid.contains(&info.path))
            .cloned()
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let missing = references_first(missing);
        let paths: Arc<[StorePath]> = missing.iter().map(|info| info.path.clone()).collect();
        let nar_bytes = missing.iter().map(|info| info.nar_size).sum();
        self.teller.tell(Happened::Importing {
            paths: paths.clone(),
            nar_bytes,
        });
        let since = Instant::now();
        self.home.import(&missing, arrivals).await?;
        self.teller.tell(Happened::Imported {
            paths,
            nar_bytes,
            took: since.elapsed(),
        });
        Ok(())
    }
}

/// The path whose bytes are not what was said of them, if a home store of our
/// own found one.
fn false_path(error: &StoreError) -> Option<&str> {
    let StoreError::Local(error) = error else {
        return None;
    };
    if let LocalError::OtherHash { path, .. }
    | LocalError::OtherSize { path, .. }
    | LocalError::FalseClaim { path, .. } = error
    {
        return Some(path);
    }
    // A NAR that is none; not one that did not come, or that the disk refused.
    if let LocalError::Unpack { path, source } = error
        && !matches!(source, nar::Error::Io(_))
    {
        return Some(path);
    }
    None
}
