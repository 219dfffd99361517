//! The way to a worker through the shim that `machine add` put on its host. A
//! program of this release is installed there where it is missing, so that the
//! worker is as new as whoever asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use musher_store::StoreError;
use musher_store::ssh::Link;
use musher_store::transport::{Exit, PeerEnd, Transport};
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tracing::{info, warn};

use crate::enrol::{Binary, InstallError, NOT_INSTALLED, install, worker_command};

/// This process's own program; none if machines cannot be given it.
static OWN: OnceCell<Option<Arc<Binary>>> = OnceCell::const_new();

async fn own() -> Option<Arc<Binary>> {
    let read = || async {
        let opened = spawn_blocking(Binary::own).await;
        match opened.map_err(|error| error.to_string()) {
            Ok(Ok(binary)) => Some(Arc::new(binary)),
            Ok(Err(error)) => {
                warn!(
                    error = crate::error_text(&error),
                    "machines are not upgraded"
                );
                None
            }
            Err(error) => {
                warn!(error, "machines are not upgraded");
                None
            }
        }
    };
    OWN.get_or_init(read).await.clone()
}

/// The way through a shim.
pub struct ShimWay {
    /// The connections to its host.
    link: Link,
    /// Whether our own program is of no use there, so that the worker is that of
    /// whatever was installed last.
    as_it_is: AtomicBool,
}

impl ShimWay {
    pub(super) fn new(link: Link) -> Self {
        Self {
            link,
            as_it_is: AtomicBool::new(false),
        }
    }

    /// The connections to its host.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// One more connection to the worker.
    pub(super) async fn transport(&self) -> Result<Transport, StoreError> {
        let own = match self.as_it_is.load(Ordering::Relaxed) {
            true => None,
            false => own().await,
        };
        let command = worker_command(own.as_ref().map(|binary| &binary.hash));
        let channel = self.link.channel(&command).await;
        channel.map_err(StoreError::Ssh)
    }

    /// Whether a connection that ended so is worth being tried again: what was
    /// missing there was our program, and it has it now, or will do without.
    pub(super) async fn mend(&self, end: &PeerEnd) -> bool {
        if end.exit != Some(Exit::Status(NOT_INSTALLED)) || self.as_it_is.load(Ordering::Relaxed) {
            return false;
        }
        let Some(binary) = own().await else {
            return false;
        };
        let architecture = binary.elf.architecture.as_deref();
        match install(&self.link, &binary, architecture, |_| ()).await {
            Ok(()) => info!(hash = %binary.hash, "a machine has this release now"),
            Err(error) => {
                let host = self.link.target().authority.to_string();
                tell(&host, &error);
                self.as_it_is.store(true, Ordering::Relaxed);
            }
        }
        true
    }
}

fn tell(host: &str, error: &InstallError) {
    let error = crate::error_text(error);
    warn!(host, error, "a machine keeps the release that it has");
}
