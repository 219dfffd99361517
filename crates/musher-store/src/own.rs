//! Stores of Musher's own, where no Nix is needed: which one a URL means on this
//! host, and such a store reached as if a nix-daemon answered for it.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix_narinfo::TrustedPublicKey;
use rustix::fs::{Access, access};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::geteuid;

use crate::connector::{Connector, Way};
use crate::local::LocalOptions;
use crate::open::{OpenError, local_options};
use crate::url::{DEFAULT_DAEMON_SOCKET, StoreUrl};
use crate::worker_store::WorkerStore;

/// How this user reaches the Nix of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostNix {
    /// By its daemon, which may be down for now.
    Daemon,
    /// By a nix-daemon of this user's, which may write to the store.
    Program,
}

/// The store on this disk that `url` means, if it means one: a local store does,
/// and so does `auto` where this user has no Nix. That one is below `state`. Every
/// command and every process of ours asks this.
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
pub fn has_nix() -> bool {
    host_nix().is_some()
}

/// How this user reaches the Nix of this host, if it has any.
pub(crate) fn host_nix() -> Option<HostNix> {
    let path = env::var_os("PATH").unwrap_or_default();
    find_nix(Path::new(DEFAULT_DAEMON_SOCKET), &path)
}

/// The same for a daemon at `socket` and programs in the directories of `path`.
fn find_nix(socket: &Path, path: &OsStr) -> Option<HostNix> {
    let listener = listener(socket);
    if listener == Listener::Alive {
        return Some(HostNix::Daemon);
    }
    let is_there = |dir: PathBuf| dir.join("nix-daemon").is_file();
    if !env::split_paths(path).any(is_there) {
        return None;
    }
    // The socket has a directory of its own in the directory of Nix's state.
    let state = socket.ancestors().nth(2);
    if state.is_some_and(may_write) {
        return Some(HostNix::Program);
    }
    // A daemon that is down comes back; until then no other store is its.
    (listener == Listener::Gone).then_some(HostNix::Daemon)
}

/// Who is at a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listener {
    /// Somebody, or we may not know.
    Alive,
    /// Nobody any more.
    Gone,
    /// There is no socket.
    Never,
}

/// Asks the kernel and not the daemon: a stream socket has no answer for a socket
/// of datagrams, but refuses it in another way when nobody holds it. So nothing is
/// accepted, and a service that starts when it is called is not called.
fn listener(socket: &Path) -> Listener {
    let ask = || {
        let datagrams = socket_with(
            AddressFamily::UNIX,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            None,
        )?;
        connect(datagrams, &SocketAddrUnix::new(socket)?)
    };
    match ask() {
        Err(Errno::NOENT | Errno::NOTDIR) => Listener::Never,
        Err(Errno::CONNREFUSED) => Listener::Gone,
        // Not even the directory can be entered.
        Err(Errno::ACCESS) if !socket.exists() => Listener::Never,
        Ok(()) | Err(_) => Listener::Alive,
    }
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
    let disk = options.real_store_dir();
    let way = Way::Local { options, keys };
    WorkerStore::new(Connector { way, timeout }, store_dir, Some(disk))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::net::UnixListener;

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

    #[test]
    fn nix_is_where_somebody_listens() {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = dir.path().join("var/daemon-socket/socket");
        let nowhere = OsStr::new("");
        assert_eq!(find_nix(&socket, nowhere), None);
        fs::create_dir_all(socket.parent().expect("a directory")).expect("made");
        let daemon = UnixListener::bind(&socket).expect("a socket");
        assert_eq!(find_nix(&socket, nowhere), Some(HostNix::Daemon));
        // Whoever asks is not one to be accepted.
        daemon.set_nonblocking(true).expect("set");
        let asked = daemon.accept().expect_err("nobody");
        assert_eq!(asked.kind(), std::io::ErrorKind::WouldBlock);
        drop(daemon);
        assert!(socket.exists());
        assert_eq!(find_nix(&socket, nowhere), None);
    }

    #[test]
    fn nix_is_where_its_program_may_be_started() {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = dir.path().join("var/daemon-socket/socket");
        fs::write(dir.path().join("nix-daemon"), "").expect("a program");
        fs::create_dir_all(dir.path().join("var/db")).expect("a database");
        let found = find_nix(&socket, dir.path().as_os_str());
        assert_eq!(found, Some(HostNix::Program));
    }
}
