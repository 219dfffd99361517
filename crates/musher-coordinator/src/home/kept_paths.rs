//! Paths of the home store that a request needs, kept from its garbage
//! collector for as long as the request goes on.

use std::collections::BTreeSet;
use std::sync::Arc;

use musher_store::local::TempRoots;
use musher_store::{StoreError, WorkerConnection};
use nix_derivation::StorePath;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tracing::{debug, warn};

use super::{Home, Place};
use crate::builder::keeper::Touch as _;

/// Paths that are kept until this is dropped.
pub(crate) struct KeptPaths {
    home: Arc<Home>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// All of them: what keeps them may break, and another takes its place.
    paths: BTreeSet<StorePath>,
    /// Opened when it is first needed.
    by: Option<By>,
}

/// What keeps them.
enum By {
    /// An open connection to the nix-daemon.
    Nix(Box<WorkerConnection>),
    /// A list of our own beside the store.
    Own(Arc<TempRoots>),
}

impl KeptPaths {
    /// None so far, of `home`.
    pub(crate) fn new(home: Arc<Home>) -> Self {
        Self {
            home,
            kept: Mutex::default(),
        }
    }

    /// Keeps these too, whether they are valid or not. That they cannot be kept
    /// is no reason to build nothing.
    pub(crate) async fn add(&self, paths: &BTreeSet<StorePath>) {
        let mut kept = self.kept.lock().await;
        let Kept { paths: all, by } = &mut *kept;
        let new: BTreeSet<_> = paths.difference(all).cloned().collect();
        all.extend(new.iter().cloned());
        if all.is_empty() || (new.is_empty() && by.is_some()) {
            return;
        }
        if let Some(open) = by.take() {
            match open.add(&new).await {
                Ok(open) => return *by = Some(open),
                Err(error) => {
                    let error = crate::error_text(&error);
                    debug!(error, "what kept paths of the home store is gone");
                }
            }
        }
        let again = match By::open(&self.home.place).await {
            Ok(Some(open)) => open.add(all).await.map(Some),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        match again {
            Ok(open) => *by = open,
            Err(error) => {
                let error = crate::error_text(&error);
                warn!(error, "paths of the home store may be collected");
            }
        }
    }
}

impl By {
    /// None for a store on another host, which nobody can keep paths of for us.
    async fn open(place: &Place) -> Result<Option<Self>, StoreError> {
        match place {
            Place::Nix(store) => Ok(Some(Self::Nix(Box::new(store.open().await?)))),
            Place::Own(store) => {
                let store = store.clone();
                let roots = blocking(move || store.temp_roots().map_err(StoreError::Local));
                Ok(Some(Self::Own(Arc::new(roots.await?))))
            }
            Place::Elsewhere => Ok(None),
        }
    }

    async fn add(mut self, paths: &BTreeSet<StorePath>) -> Result<Self, StoreError> {
        match &mut self {
            Self::Nix(connection) => connection.touch(paths).await?,
            Self::Own(roots) => {
                let (roots, paths) = (roots.clone(), paths.clone());
                blocking(move || roots.add_all(&paths).map_err(StoreError::Local)).await?;
            }
        }
        Ok(self)
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    spawn_blocking(work)
        .await
        .unwrap_or(Err(StoreError::GivenUp))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use musher_protocol::worker::Trust;
    use musher_store::{Connector, Way, WorkerStore};
    use nix_derivation::StoreDir;

    use super::KeptPaths;
    use crate::home::{Home, Place};
    use crate::testing::{NixDaemon, path};

    #[tokio::test]
    async fn what_was_kept_stays_so_when_the_connection_breaks() {
        let daemon = NixDaemon::start(Trust::Trusted, Vec::new());
        let connector = Connector {
            way: Way::Socket(daemon.socket.clone()),
            timeout: Duration::from_secs(20),
        };
        let store = Arc::new(WorkerStore::new(connector, StoreDir::default(), None));
        let home = Home::new(store.clone(), Place::Nix(store));
        let kept = KeptPaths::new(Arc::new(home));
        kept.add(&[path("a"), path("b")].into()).await;
        kept.add(&[path("b"), path("c")].into()).await;
        assert_eq!(daemon.asked(), ["keep a b c"]);
        daemon.hangs_up().await;
        kept.add(&[path("d")].into()).await;
        assert_eq!(daemon.asked(), ["keep a b c d"]);
    }
}
