//! A connection to a store on this disk, as if to a nix-daemon: its other end is
//! a session in this process.

use std::io;
use std::sync::Arc;

use nix_narinfo::TrustedPublicKey;
use tokio::net::UnixStream;
use tokio::task::spawn_blocking;
use tracing::debug;

use super::serve_local;
use crate::StoreError;
use crate::local::{LocalOptions, LocalStore};
use crate::transport::Transport;

/// What errors call the other end.
const NAME: &str = "the store on this disk";

/// Opens the store that `options` say and connects to a session over it, which
/// ends with the transport.
pub(crate) async fn connect_local(
    options: LocalOptions,
    keys: Arc<[TrustedPublicKey]>,
) -> Result<Transport, StoreError> {
    let opened = spawn_blocking(|| LocalStore::open(options)).await;
    let broken = |source| StoreError::Transport { source };
    let store = opened.map_err(|error| broken(io::Error::other(error)))?;
    let store = Arc::new(store.map_err(StoreError::Local)?);
    let (ours, theirs) = UnixStream::pair().map_err(broken)?;
    let theirs = Transport::stream(theirs, "the client".to_owned());
    tokio::spawn(async move {
        // The client sees its connection end; why is told where it can be.
        if let Err(error) = serve_local(store, keys, theirs).await {
            debug!(%error, "a session of the local store ended");
        }
    });
    Ok(Transport::stream(ours, NAME.to_owned()))
}
