//! What outputs turned out to be whose paths nobody knew before they were
//! built. A home store of our own remembers it by the derivation that was asked
//! for. So does a nix-daemon from 2.35 on; older ones know derivations by a hash
//! over all below, which they work out when asked, but not when told.

use std::collections::{BTreeMap, BTreeSet};

use musher_protocol::types::BuiltOutput;
use musher_protocol::worker::{OutputId, Realisation, Request, Response};
use musher_store::local::{LocalStore, RealisationKey, StoredRealisation};
use musher_store::{StoreError, WorkerConnection, WorkerStore, deaf};
use nix_derivation::{DrvOutput, StorePath};
use tokio::task::spawn_blocking;
use tracing::debug;

use super::{Home, Place};

/// Outputs of derivations, by name.
type Outputs = BTreeMap<StorePath, BTreeMap<String, StorePath>>;

impl Home {
    /// The paths that outputs of these derivations turned out to have, as far as
    /// that is known. They may not be valid any more.
    pub(crate) async fn realisations(
        &self,
        wanted: BTreeMap<StorePath, BTreeSet<String>>,
    ) -> Result<Outputs, StoreError> {
        if wanted.is_empty() {
            return Ok(Outputs::new());
        }
        match &self.place {
            Place::Own(_) => self.on_disk(move |store| read(store, wanted)).await,
            Place::Nix(store) => ask(store, wanted).await,
            Place::Elsewhere => Ok(Outputs::new()),
        }
    }

    /// Remembers what outputs of these derivations turned out to be, which are
    /// valid.
    pub(crate) async fn register_realisations(&self, realised: Outputs) -> Result<(), StoreError> {
        if realised.is_empty() {
            return Ok(());
        }
        match &self.place {
            Place::Own(_) => self.on_disk(move |store| write(store, realised)).await,
            Place::Nix(store) => tell(store, realised).await,
            Place::Elsewhere => Ok(()),
        }
    }

    /// Asks the store on this disk. Nothing comes of it if there is none.
    async fn on_disk<T: Default + Send + 'static>(
        &self,
        ask: impl FnOnce(&LocalStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let Place::Own(store) = &self.place else {
            return Ok(T::default());
        };
        let store = store.clone();
        let asked = spawn_blocking(move || ask(&store)).await;
        asked.unwrap_or(Err(StoreError::GivenUp))
    }
}

fn read(
    store: &LocalStore,
    wanted: BTreeMap<StorePath, BTreeSet<String>>,
) -> Result<Outputs, StoreError> {
    let mut found = Outputs::new();
    for (drv, outputs) in wanted {
        let key = RealisationKey::Path(drv.clone());
        for output in outputs {
            let realisation = store.realisation(&key, &output);
            if let Some(realisation) = realisation.map_err(StoreError::Local)? {
                let paths = found.entry(drv.clone()).or_default();
                paths.insert(output, realisation.path);
            }
        }
    }
    Ok(found)
}

/// What can be is remembered, whatever becomes of the rest.
fn write(store: &LocalStore, realised: Outputs) -> Result<(), StoreError> {
    let mut written = Ok(());
    for (drv, outputs) in realised {
        for (output, path) in outputs {
            let realisation = StoredRealisation {
                keys: BTreeSet::from([RealisationKey::Path(drv.clone())]),
                output,
                path,
                signatures: BTreeSet::new(),
            };
            let registered = store.register_realisation(&realisation);
            written = written.and(registered.map_err(StoreError::Local));
        }
    }
    written
}

async fn ask(
    store: &WorkerStore,
    wanted: BTreeMap<StorePath, BTreeSet<String>>,
) -> Result<Outputs, StoreError> {
    let mut connection = store.connection().await?;
    let mut found = Outputs::new();
    for (drv, outputs) in wanted {
        let question = Request::QueryDerivationOutputMap(drv.clone());
        let Some(Response::OutputMap(map)) = said(&mut connection, question).await? else {
            continue;
        };
        let known = map
            .into_iter()
            .filter_map(|(name, path)| Some((name, path?)));
        let known = known.filter(|(name, _)| outputs.contains(name));
        found.insert(drv, known.collect());
    }
    store.give_back(connection);
    Ok(found)
}

async fn tell(store: &WorkerStore, realised: Outputs) -> Result<(), StoreError> {
    let mut connection = store.connection().await?;
    for (drv, outputs) in realised {
        for (output, path) in outputs {
            let id = OutputId::Path(DrvOutput::new(drv.clone(), output));
            let built = BuiltOutput {
                drv_hash: None,
                path,
                signatures: BTreeSet::new(),
                dependent_realisations: BTreeMap::new(),
            };
            let statement = Request::RegisterDrvOutput(Realisation::new(id, built));
            said(&mut connection, statement).await?;
        }
    }
    store.give_back(connection);
    Ok(())
}

/// The daemon's answer; none if it will not hear of such things.
async fn said(
    connection: &mut WorkerConnection,
    request: Request,
) -> Result<Option<Response>, StoreError> {
    match connection.call(request, &mut deaf).await {
        Ok(response) => Ok(Some(response)),
        Err(error @ (StoreError::WorkerRequest(_) | StoreError::Remote(_))) => {
            let error = crate::error_text(&error);
            debug!(error, "the nix-daemon does not speak of realisations");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    use musher_protocol::worker::Trust;
    use musher_store::local::{LocalOptions, LocalStore};
    use musher_store::{Connector, DiskStore, Substitute, Way, WorkerStore};
    use nix_derivation::StoreDir;

    use super::{Home, Place};
    use crate::home::KeptPaths;
    use crate::testing::{NixDaemon, info, path};

    #[tokio::test]
    async fn what_was_realised_is_found_again_if_it_is_valid() {
        let dir = tempfile::tempdir().expect("a directory");
        let options = LocalOptions::below(dir.path());
        let store = Arc::new(LocalStore::open(options.clone()).expect("a store"));
        let roots = store.temp_roots().expect("roots");
        let added = store.add_text("app", b"made", &BTreeSet::new(), &roots);
        let out = added.expect("added").path;
        let home = Home::new(Arc::new(DiskStore::new(options)), Place::Own(store));
        let home = Arc::new(home);
        let kept = KeptPaths::new(home.clone());
        let drv = path("app.drv");
        let outputs = BTreeMap::from([("out".to_owned(), out.clone())]);
        let look = || BTreeMap::from([(drv.clone(), BTreeMap::from([("out".to_owned(), None)]))]);
        let found = home
            .look_for(look(), Substitute::No, &kept)
            .await
            .expect("asked");
        assert!(found[0].1.is_empty());
        let outputs = BTreeMap::from([(drv.clone(), outputs)]);
        let registered = home.register_realisations(outputs).await;
        registered.expect("registered");
        let found = home
            .look_for(look(), Substitute::No, &kept)
            .await
            .expect("asked");
        assert_eq!(found[0].1["out"], out);
    }

    #[tokio::test]
    async fn a_nix_daemon_is_asked_what_it_knows() {
        let daemon = NixDaemon::start(Trust::Trusted, vec![info("app", &[])]);
        daemon.realised(path("app.drv"), path("app"));
        let connector = Connector {
            way: Way::Socket(daemon.socket.clone()),
            timeout: std::time::Duration::from_secs(20),
        };
        let store = Arc::new(WorkerStore::new(connector, StoreDir::default(), None));
        let home = Arc::new(Home::new(store.clone(), Place::Nix(store)));
        let kept = KeptPaths::new(home.clone());
        let unknown = || BTreeMap::from([("out".to_owned(), None)]);
        let looks = [(path("app.drv"), unknown()), (path("lib.drv"), unknown())];
        let found = home.look_for(looks.into(), Substitute::No, &kept).await;
        let found: BTreeMap<_, _> = found.expect("asked").into_iter().collect();
        assert_eq!(found[&path("app.drv")]["out"], path("app"));
        assert!(found[&path("lib.drv")].is_empty());
        assert_eq!(
            daemon.asked(),
            ["outputs? app.drv lib.drv", "keep app", "valid? app"]
        );
    }
}
