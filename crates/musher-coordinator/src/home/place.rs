//! What kind of store is at home: all are read and imported into alike, but
//! where the files lie, and who keeps what from the garbage collector, is each
//! kind's own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use musher_protocol::worker::{Request, Trust};
use musher_store::local::{LocalError, LocalStore};
use musher_store::{StoreError, User, Way, WorkerStore, deaf};
use rustix::process::geteuid;
use tokio::task::{JoinError, spawn_blocking};
use tracing::debug;

use super::Home;

/// What kind of store is at home.
pub(crate) enum Place {
    /// Nix's, behind its daemon.
    Nix(Arc<WorkerStore>),
    /// Musher's own.
    Own(Arc<LocalStore>),
    /// On another host.
    Elsewhere,
}

/// Why a link is no root.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RootError {
    /// The daemon refused.
    #[error("cannot have the nix-daemon keep what `{}` leads to", link.display())]
    Nix {
        /// The link.
        link: PathBuf,
        /// Why.
        #[source]
        source: Box<StoreError>,
    },
    /// Musher's own store cannot take it in.
    #[error(transparent)]
    Own(LocalError),
    /// Whoever was making it has gone.
    #[error("the link was not made to its end")]
    GivenUp(#[source] JoinError),
    /// There is no way to do so.
    #[error("the home store is on another host, which knows no links of this one")]
    Elsewhere,
}

impl Home {
    /// Where the store directory's files lie on this host, if they do.
    pub(crate) fn real_dir(&self) -> Option<&Path> {
        match &self.place {
            Place::Nix(store) => store.disk(),
            Place::Own(store) => Some(store.real_store_dir()),
            Place::Elsewhere => None,
        }
    }

    /// Whether it is one of Musher's own.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self.place, Place::Own(_))
    }

    /// Whether every user of this host can connect to it, with their own rights.
    pub(crate) fn is_for_users(&self) -> bool {
        match &self.place {
            Place::Nix(store) => matches!(store.way(), Way::Socket(_)),
            Place::Own(_) | Place::Elsewhere => false,
        }
    }

    /// Whether it takes the word of `user`.
    pub(crate) async fn trusts(&self, user: User) -> bool {
        // Root could be whoever it likes, and this user is who runs us.
        if user.uid == 0 || user.uid == geteuid().as_raw() {
            return true;
        }
        let Place::Nix(store) = &self.place else {
            return false;
        };
        match store.trust_of(user).await {
            Ok(trust) => trust == Trust::Trusted,
            Err(error) => {
                let error = crate::error_text(&error);
                debug!(
                    uid = user.uid,
                    error, "nobody says whether a user is trusted"
                );
                false
            }
        }
    }

    /// What it is, for people.
    pub(crate) fn shown(&self) -> String {
        match &self.place {
            Place::Nix(_) => "this machine's Nix store".to_owned(),
            Place::Own(store) => format!("`{}`", store.real_store_dir().display()),
            Place::Elsewhere => "a store on another host".to_owned(),
        }
    }

    /// Keeps what `link` leads to from the garbage collector, as long as it
    /// does.
    pub(crate) async fn add_root(&self, link: &Path) -> Result<(), RootError> {
        match &self.place {
            Place::Nix(store) => {
                let added = add_through_daemon(store, link).await;
                let link = link.to_owned();
                added.map_err(|error| RootError::Nix {
                    link,
                    source: Box::new(error),
                })
            }
            Place::Own(store) => {
                let (store, link) = (store.clone(), link.to_owned());
                let added = spawn_blocking(move || store.add_indirect_root(&link)).await;
                added.map_err(RootError::GivenUp)?.map_err(RootError::Own)
            }
            Place::Elsewhere => Err(RootError::Elsewhere),
        }
    }
}

async fn add_through_daemon(store: &WorkerStore, link: &Path) -> Result<(), StoreError> {
    let mut connection = store.connection().await?;
    let link = link.to_string_lossy().into_owned();
    let request = Request::AddIndirectRoot(link.as_str().into());
    connection.call(request, &mut deaf).await?;
    store.give_back(connection);
    Ok(())
}
