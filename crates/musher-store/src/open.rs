//! From a store URL to the store. Decides which protocol and which way; the
//! environment is read by the caller.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix_derivation::StoreDir;

use crate::connector::{Connector, Way};
use crate::disk_store::DiskStore;
use crate::local::LocalOptions;
use crate::own::{HostNix, host_nix, own_home};
use crate::serve_store::ServeStore;
use crate::ssh::{Link, SshOptions, SshTarget};
use crate::store::Store;
use crate::url::{
    DEFAULT_DAEMON_SOCKET, DaemonStore, LocalParams, SshProtocol, SshStore, StoreUrl,
};
use crate::worker_store::WorkerStore;

/// Why a store URL leads to no store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store is on another host.
    #[error("the store `{url}` is not on this host")]
    Elsewhere {
        /// Its URL.
        url: String,
    },
    /// The store directory is none.
    #[error("bad store directory `{dir}`")]
    StoreDir {
        /// As given.
        dir: String,
        /// What is wrong with it.
        #[source]
        source: nix_derivation::store_path::Error,
    },
}

/// A store on another host, and the link to that host.
pub struct SshParts {
    /// The connections to the host.
    pub link: Link,
    /// The program to run there.
    pub connector: Connector,
    /// The store directory.
    pub store_dir: StoreDir,
}

/// What is needed to speak to the store of an ssh URL. Nothing is connected.
pub fn ssh_parts(store: &SshStore, ssh: &SshOptions) -> Result<SshParts, OpenError> {
    let link = Link::new(SshTarget::from(store), ssh.clone());
    let way = Way::Ssh {
        link: link.clone(),
        command: store.remote_command(),
    };
    let connector = Connector {
        way,
        timeout: ssh.connect_timeout,
    };
    Ok(SshParts {
        link,
        connector,
        store_dir: store_dir(store.store_dir.as_deref())?,
    })
}

/// The store at `url`; where this user has no Nix `auto` is the one of our own
/// below `state`. Nothing is connected before it is asked something.
pub fn open_store(
    url: &StoreUrl,
    ssh: &SshOptions,
    state: &Path,
) -> Result<Arc<dyn Store>, OpenError> {
    if let Some(options) = own_home(url, state)? {
        return Ok(Arc::new(DiskStore::new(options)));
    }
    match url {
        StoreUrl::Ssh(store) => {
            let parts = ssh_parts(store, ssh)?;
            Ok(match store.protocol {
                SshProtocol::Worker => {
                    Arc::new(WorkerStore::new(parts.connector, parts.store_dir, None))
                }
                SshProtocol::Serve => Arc::new(ServeStore::new(parts.connector, parts.store_dir)),
            })
        }
        StoreUrl::Daemon(_) | StoreUrl::Auto(_) | StoreUrl::Local(_) => {
            Ok(Arc::new(open_here(url, ssh.connect_timeout)?))
        }
    }
}

/// How to open the store on disk that a URL names.
pub fn local_options(params: &LocalParams) -> Result<LocalOptions, OpenError> {
    Ok(LocalOptions {
        root: params.root.clone(),
        store_dir: store_dir(params.store_dir.as_deref())?,
        ..LocalOptions::default()
    })
}

/// The store at `url`, which must be on this host. Nothing is connected before
/// it is asked something; a daemon that does not answer within `timeout` is
/// given up.
pub fn open_here(url: &StoreUrl, timeout: Duration) -> Result<WorkerStore, OpenError> {
    match url {
        StoreUrl::Ssh(_) => Err(OpenError::Elsewhere {
            url: url.to_string(),
        }),
        StoreUrl::Daemon(daemon) => daemon_store(daemon, timeout),
        StoreUrl::Auto(params) => auto_store(params, timeout),
        StoreUrl::Local(params) => program_store(params, timeout),
    }
}

/// The store of the daemon that listens where `daemon` says.
fn daemon_store(daemon: &DaemonStore, timeout: Duration) -> Result<WorkerStore, OpenError> {
    let way = Way::Socket(daemon.socket());
    on_this_host(way, &daemon.params, timeout)
}

/// The store of the daemon that listens at the usual place; where none does,
/// of one that we start.
fn auto_store(params: &LocalParams, timeout: Duration) -> Result<WorkerStore, OpenError> {
    match params.root.is_none() && host_nix() == Some(HostNix::Daemon) {
        true => {
            let socket = PathBuf::from(DEFAULT_DAEMON_SOCKET);
            on_this_host(Way::Socket(socket), params, timeout)
        }
        false => program_store(params, timeout),
    }
}

fn program_store(params: &LocalParams, timeout: Duration) -> Result<WorkerStore, OpenError> {
    let mut command = vec!["nix-daemon".to_owned(), "--stdio".to_owned()];
    if let Some(root) = &params.root {
        command.extend(["--store".to_owned(), root.display().to_string()]);
    }
    on_this_host(Way::Program(command), params, timeout)
}

fn on_this_host(
    way: Way,
    params: &LocalParams,
    timeout: Duration,
) -> Result<WorkerStore, OpenError> {
    let store_dir = store_dir(params.store_dir.as_deref())?;
    let disk = match &params.root {
        Some(root) => root.join(store_dir.as_str().trim_start_matches('/')),
        None => PathBuf::from(store_dir.as_str()),
    };
    Ok(WorkerStore::new(
        Connector { way, timeout },
        store_dir,
        Some(disk),
    ))
}

fn store_dir(dir: Option<&Path>) -> Result<StoreDir, OpenError> {
    let Some(dir) = dir else {
        return Ok(StoreDir::default());
    };
    let dir = dir.display().to_string();
    StoreDir::new(dir.clone()).map_err(|source| OpenError::StoreDir { dir, source })
}
