//! A request with a graph behind it: what is asked for, and the request while
//! it is granted. Every build of it is the core's, shared with whoever else asks
//! for it.

mod arrivals;
mod checked;
mod foreseen;
mod granter;
mod graph;
mod home_logs;
mod homeward;
mod plan;
mod resolve;
mod story;
mod summary;
mod tally;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use musher_store::Substitute;
use nix_derivation::StorePath;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::build::Limits;
use crate::core::{CoreHandle, Expected, Standing};
use crate::home::{Home, KeptPaths};

pub(crate) use foreseen::{Asking, ClientProcess, Foresight, Intended};
use granter::Granter;
use graph::Graph;
pub(crate) use resolve::basic;
use story::story;
pub(crate) use story::{Happened, RootEnd, Story};
pub(crate) use summary::Summary;

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    /// Derivations of the home store and the outputs wanted of each; all of
    /// them where none is named.
    pub(crate) roots: BTreeMap<StorePath, BTreeSet<String>>,
    /// Whether to go on with the rest once something failed.
    pub(crate) keep_going: bool,
    /// Limits of each attempt.
    pub(crate) limits: Limits,
    /// Whether the home store may fetch what it lacks from its substituters.
    pub(crate) substitute: Substitute,
    /// Whether the build directories of failed attempts are kept.
    pub(crate) keep_failed: bool,
    /// Whether the roots are built though they are there, and held against what
    /// is.
    pub(crate) check: bool,
    /// Who asks.
    pub(crate) standing: Standing,
}

/// A request under way. Dropping it ends the interest in its builds.
pub(crate) struct Request {
    /// What happens to it.
    pub(crate) story: Story,
    /// How far it is, as that was last found.
    pub(crate) outlook: watch::Receiver<Option<Expected>>,
    /// What it needs of the home store, and what came home for it.
    _kept: Arc<KeptPaths>,
    _task: AbortOnDropHandle<()>,
}

impl Request {
    /// Begins to grant `wish`.
    pub(crate) fn start(core: CoreHandle, home: Arc<Home>, wish: Wish) -> Self {
        let (teller, story) = story();
        let (graph, actions) = Graph::new(wish.roots.clone(), wish.keep_going, wish.check);
        let kept = Arc::new(KeptPaths::new(home.clone()));
        let (sender, outlook) = watch::channel(None);
        let granter = Granter::new(core, home, kept.clone(), wish, graph, teller, sender);
        let task = tokio::spawn(granter.run(actions));
        Self {
            story,
            outlook,
            _kept: kept,
            _task: AbortOnDropHandle::new(task),
        }
    }
}
