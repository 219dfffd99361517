//! This session's own connection to the home store, with the rights of this
//! process. Knows nothing of the client.

use std::collections::BTreeSet;
use std::sync::Arc;

use musher_protocol::worker::{Feature, Negotiated, Options, Request, Trust, Version};
use musher_store::{Store as _, StoreError, WorkerConnection, WorkerStore, deaf};
use nix_derivation::StoreDir;
use tokio::task::JoinHandle;

/// Nix-daemons since this version know all requests that matter to builds.
/// Where the home store is older, clients are held to what it knows.
const COMPLETE: u8 = 34;

/// The home store, and the connection to it once there is one.
pub(crate) struct Home {
    store: Arc<WorkerStore>,
    /// The first connection, being made beside whatever else happens.
    opening: Option<JoinHandle<Result<WorkerConnection, StoreError>>>,
    connection: Option<WorkerConnection>,
    /// The client's settings: a new connection has to hear of them.
    options: Option<Options>,
}

impl Home {
    /// The home store; a connection is made when it is asked something.
    pub(crate) fn new(store: WorkerStore) -> Self {
        Self {
            store: Arc::new(store),
            opening: None,
            connection: None,
            options: None,
        }
    }

    /// The home store, to which a connection is being made.
    ///
    /// Must be called within a tokio runtime.
    pub(crate) fn connect_to(store: WorkerStore) -> Self {
        let store = Arc::new(store);
        let opened = Arc::clone(&store);
        Self {
            store,
            opening: Some(tokio::spawn(async move { opened.open().await })),
            connection: None,
            options: None,
        }
    }

    /// The directory of all its paths.
    pub(crate) fn store_dir(&self) -> &StoreDir {
        self.store.store_dir()
    }

    /// The connection, made if there is none.
    pub(crate) async fn connection(&mut self) -> Result<&mut WorkerConnection, StoreError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.open().await?,
        };
        Ok(self.connection.insert(connection))
    }

    async fn open(&mut self) -> Result<WorkerConnection, StoreError> {
        if let Some(opening) = self.opening.take()
            && let Ok(opened) = opening.await
        {
            return opened;
        }
        let mut connection = self.store.open().await?;
        if let Some(options) = self.options.clone() {
            let request = Request::SetOptions(options);
            connection.call(request, &mut deaf).await?;
        }
        Ok(connection)
    }

    /// The connection is of no more use.
    pub(crate) fn disconnect(&mut self) {
        self.connection = None;
    }

    /// Remembers the client's settings for later connections.
    pub(crate) fn remember(&mut self, options: Options) {
        self.options = Some(options);
    }

    /// What the home store and we agreed on.
    pub(crate) async fn negotiated(&mut self) -> Result<Negotiated, StoreError> {
        Ok(self.connection().await?.negotiated().clone())
    }

    /// Whether the home store trusts this process. Root always is, and need
    /// not wait for the connection to know it.
    pub(crate) async fn trust(&mut self) -> Result<Trust, StoreError> {
        if rustix::process::geteuid().is_root() {
            return Ok(Trust::Trusted);
        }
        let connection = self.connection().await?;
        let trust = connection.trust().await;
        // An old nix-daemon hangs up on whom it does not trust.
        if connection.is_spent() {
            self.disconnect();
        }
        trust
    }
}

/// The newest version to offer to clients of a home store that agreed to
/// `home`. Messages are written again for each side, so that only requests that
/// the home store does not know count.
pub(crate) fn offered_version(home: &Negotiated) -> Version {
    if home.version.has(COMPLETE) {
        Version::MAX
    } else {
        home.version
    }
}

/// The features to offer to clients of such a home store: those that it has,
/// since realisations are passed on to it as they are named.
pub(crate) fn offered_features(home: &Negotiated) -> BTreeSet<Feature> {
    let ours = Feature::default_offer();
    ours.intersection(&home.features).copied().collect()
}
