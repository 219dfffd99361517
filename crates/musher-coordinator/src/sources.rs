//! Where the NARs of a build's inputs come from: the home store, or the machine
//! on which an input lies. Takes note of machines that do not give theirs.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::StreamExt;
use musher_protocol::types::PathInfo;
use musher_store::{NarStream, Store, StoreError, StoreInfo, Substitute};
use nix_derivation::{StoreDir, StorePath};
use tracing::debug;

use crate::builder::Fault;
use crate::core::{Command, CoreHandle};
use crate::held_inputs::{HeldInput, HeldInputs};
use crate::home::Home;
use crate::supply::{STALL, Stall, Supply, Traffic};

/// Paths that could not be read from the machines on which they lie.
type Lost = Arc<Mutex<BTreeSet<StorePath>>>;

/// The home store and what lies on machines, as one store to read from.
pub(crate) struct Sources {
    home: Arc<Home>,
    held: HeldInputs,
    core: CoreHandle,
    lost: Lost,
    supply: Supply,
}

impl Sources {
    /// What is at `home`, and what is `held` on machines that `core` knows.
    pub(crate) fn new(home: Arc<Home>, held: HeldInputs, core: CoreHandle) -> Self {
        Self {
            home,
            held,
            core,
            lost: Lost::default(),
            supply: Supply::new(Arc::default()),
        }
    }

    /// The same for a machine of which `traffic` is.
    pub(crate) fn towards(self, traffic: Arc<Traffic>) -> Self {
        Self {
            supply: Supply::new(traffic),
            ..self
        }
    }

    /// The home store alone.
    pub(crate) fn home(&self) -> &Arc<Home> {
        &self.home
    }

    /// The paths that could not be read from where they lie, so far.
    pub(crate) fn lost(&self) -> BTreeSet<StorePath> {
        self.lost
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits until what is read here has not moved for too long, and says whose
    /// fault that is.
    pub(crate) async fn stalls(&self) -> Fault {
        let after = STALL;
        match self.supply.stalls().await {
            Stall::Taker => Fault::TakesNothing { after },
            Stall::Giver(path) => {
                let is_held = self.held.get(&path).is_some();
                let fault = Fault::Unfed {
                    path: path.clone(),
                    after,
                };
                if is_held {
                    note(&self.lost, &path, &fault);
                }
                fault
            }
        }
    }

    async fn read_held(&self, held: &HeldInput) -> Result<NarStream, StoreError> {
        let machine = held.machine.clone();
        let ask = |reply| Command::Reader { machine, reply };
        // Without a core, or without the machine, there is nothing to read.
        let builder = self.core.ask(ask).await.ok().flatten();
        let builder = builder.ok_or_else(|| StoreError::Invalid {
            path: self.store_dir().render_path(&held.info.path),
        })?;
        builder.read_nar(&held.info.path).await
    }
}

fn note(lost: &Lost, path: &StorePath, error: &dyn Error) {
    let error = crate::error_text(error);
    debug!(%path, error, "input cannot be read from where it was built");
    let mut lost = lost.lock().unwrap_or_else(PoisonError::into_inner);
    lost.insert(path.clone());
}

#[async_trait]
impl Store for Sources {
    fn store_dir(&self) -> &StoreDir {
        self.home.store_dir()
    }

    async fn ping(&self) -> Result<StoreInfo, StoreError> {
        self.home.store().ping().await
    }

    async fn valid_paths(
        &self,
        paths: &BTreeSet<StorePath>,
        substitute: Substitute,
    ) -> Result<BTreeSet<StorePath>, StoreError> {
        self.home.store().valid_paths(paths, substitute).await
    }

    async fn path_infos(&self, paths: &[StorePath]) -> Result<Vec<PathInfo>, StoreError> {
        self.home.store().path_infos(paths).await
    }

    async fn read_nar(&self, path: &StorePath) -> Result<NarStream, StoreError> {
        let Some(held) = self.held.get(path) else {
            let opening = self.home.store().read_nar(path);
            return self.supply.watch(path, opening).await;
        };
        let nar = self.supply.watch(path, self.read_held(held)).await;
        let nar = nar.inspect_err(|error| note(&self.lost, path, error))?;
        let (lost, path) = (self.lost.clone(), path.clone());
        Ok(Box::pin(nar.inspect(move |chunk| {
            if let Err(error) = chunk {
                note(&lost, &path, error);
            }
        })))
    }

    async fn import(&self, _: &[PathInfo], _: &dyn Store) -> Result<(), StoreError> {
        Err(StoreError::Unsupported { what: "an import" })
    }
}
