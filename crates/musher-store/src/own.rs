//! Stores of Musher's own, where no Nix is needed: which one a URL means on this
//! host, and such a store reached as if a nix-daemon answered for it.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix_narinfo::TrustedPublicKey;
use rustix::fs::{Access, access};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::connector::{Connector, Way};
use crate::local::LocalOptions;
use crate::open::{OpenError, local_options};
use crate::url::{DEFAULT_DAEMON_SOCKET, StoreUrl};
use crate::worker_store::WorkerStore;

/// The store on this disk that `url` means as a home store, if it means one: a
/// local store does, and so does `auto` where this user has no Nix. That one is below
/// `state`.
pub fn own_home(url: &StoreUrl, state: &Path) -> Result<Option<LocalOptions>, OpenError> {
    match url {
        StoreUrl::Local(params) => local_options(params).map(Some),
        StoreUrl::Auto(params) if !has_nix() => {
            let mut options = local_options(params)?;
            options.root.get_or_insert_with(|| state.join("home"));
            Ok(Some(options))
        }
        StoreUrl::Auto(_) | StoreUrl::Daemon(_) | StoreUrl::Ssh(_) => Ok(None),
    }
}

/// Whether a nix-daemon listens here, or one started by this user would have a
/// store that it may write to.
fn has_nix() -> bool {
    let socket = Path::new(DEFAULT_DAEMON_SOCKET);
    if socket.exists() {
        return true;
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let is_there = |dir: PathBuf| dir.join("nix-daemon").is_file();
    // The socket has a directory of its own in the directory of Nix's state.
    let state = socket.ancestors().nth(2);
    env::split_paths(&path).any(is_there) && state.is_some_and(may_write)
}

/// Whether this user may write to the database below Nix's `state` directory,
/// or make one.
fn may_write(state: &Path) -> bool {
    match access(state.join("db"), Access::WRITE_OK) {
        Err(Errno::NOENT) => geteuid().is_root(),
        allowed => allowed.is_ok(),
    }
}

/// The store that `options` say, answered for by this process. Signatures by
/// `keys` count. Nothing is opened before it is asked something; what takes
/// longer than `timeout` to open is given up.
pub fn own_store(
    options: LocalOptions,
    keys: Arc<[TrustedPublicKey]>,
    timeout: Duration,
) -> WorkerStore {
    let store_dir = options.store_dir.clone();
    let disk = options.root.as_ref().map_or_else(
        || PathBuf::from(store_dir.as_str()),
        |root| root.join(store_dir.as_str().trim_start_matches('/')),
    );
    let way = Way::Local { options, keys };
    WorkerStore::new(Connector { way, timeout }, store_dir, Some(disk))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: Option<Option<&str>>) {
        let url = url.parse().expect("a URL");
        let found = own_home(&url, Path::new("/state")).expect("a store");
        let root = found.map(|options| options.root);
        assert_eq!(root, expected.map(|root| root.map(PathBuf::from)));
    }

    #[test]
    fn a_local_store_needs_no_nix() {
        check("local", Some(None));
        check("/srv/store", Some(Some("/srv/store")));
        check("local?root=/srv/store", Some(Some("/srv/store")));
        check("daemon", None);
        check("unix:///run/nix.sock", None);
        check("ssh-ng://host", None);
    }
}
