//! Which store is the home store: the machine's Nix store where there is Nix,
//! and one of Musher's own where there is none.

use std::path::Path;
use std::sync::Arc;

use musher_store::ssh::SshOptions;
use musher_store::url::StoreUrl;
use musher_store::{DiskStore, OpenError, StoreError, open_here, open_store, own_home};

use super::{Home, Place};

/// Why there is no home store.
#[derive(Debug, thiserror::Error)]
pub enum HomeOpenError {
    /// The configuration names none.
    #[error("cannot open the home store")]
    Url(#[source] OpenError),
    /// One of our own cannot be used.
    #[error("cannot open the home store on this disk")]
    Own(#[source] Box<StoreError>),
}

impl HomeOpenError {
    /// Advice the user can act on, if there is any.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Url(_) => None,
            Self::Own(error) => error.help(),
        }
    }
}

impl Home {
    /// Opens the store at `url`. `auto` is one of our own below `state` where
    /// no Nix is installed.
    pub(crate) async fn open(
        url: &StoreUrl,
        ssh: &SshOptions,
        state: &Path,
    ) -> Result<Self, HomeOpenError> {
        if let Some(options) = own_home(url, state).map_err(HomeOpenError::Url)? {
            let store = Arc::new(DiskStore::new(options));
            // Better now than with the first build.
            let opened = store.local().await.cloned();
            let local = opened.map_err(|error| HomeOpenError::Own(Box::new(error)))?;
            return Ok(Self::new(store, Place::Own(local)));
        }
        if matches!(url, StoreUrl::Ssh(_)) {
            let store = open_store(url, ssh, state).map_err(HomeOpenError::Url)?;
            return Ok(Self::new(store, Place::Elsewhere));
        }
        let store = open_here(url, ssh.connect_timeout).map_err(HomeOpenError::Url)?;
        let store = Arc::new(store);
        Ok(Self::new(store.clone(), Place::Nix(store)))
    }
}
