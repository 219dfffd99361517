//! Unix sockets by their paths, which may be longer than the address of a socket
//! can be. Knows nothing of who comes.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, fchmod};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::net::{bind, listen, socket_with};

/// The longest path of a socket, with the byte that ends it.
const LONGEST: usize = 107;

/// A short path to a socket, as long as this is kept.
#[derive(Debug)]
pub struct SocketPath {
    path: PathBuf,
    /// The socket's directory, by whose descriptor the path goes.
    _dir: Option<File>,
}

impl SocketPath {
    /// A path that leads where `path` does and is short enough to bind or to
    /// connect to. The directory must exist.
    pub fn new(path: &Path) -> io::Result<Self> {
        let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        if path.as_os_str().len() <= LONGEST {
            return Ok(Self {
                path: path.to_owned(),
                _dir: None,
            });
        }
        let dir = File::open(dir)?;
        Ok(Self {
            path: PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd())).join(name),
            _dir: Some(dir),
        })
    }

    /// The path.
    pub fn as_path(&self) -> &Path {
        &self.path
    }
}

/// How many callers may wait to be accepted.
const BACKLOG: i32 = 4096;

/// Listens on `path`, to which only our user and root may connect, in place of a
/// socket that is there. The caller knows that nobody listens on that one.
/// Never blocks.
pub fn listen_privately(path: &Path) -> io::Result<UnixListener> {
    listen_on(path, |_| Ok(()))
}

/// The same, but every user of this host may connect.
pub fn listen_publicly(path: &Path) -> io::Result<UnixListener> {
    // Nobody can connect before it is listened on.
    listen_on(path, |path| {
        fs::set_permissions(path, Permissions::from_mode(0o666))
    })
}

fn listen_on(path: &Path, bound: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let short = SocketPath::new(path)?;
    let address = SocketAddrUnix::new(short.as_path())?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // Linux gives the file the mode of the socket. The umask would do it too,
    // and to whatever other threads make meanwhile.
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    bind(&socket, &address)?;
    bound(short.as_path())?;
    listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::{SocketPath, listen_privately, listen_publicly};

    #[test]
    fn a_private_socket_takes_the_place_of_an_old_one() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("socket");
        drop(UnixListener::bind(&path).expect("it can be bound"));
        let _listener = listen_privately(&path).expect("it can be bound again");
        let mode = path.metadata().expect("it is there").permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        UnixStream::connect(&path).expect("it can be connected to");
        let _listener = listen_publicly(&path).expect("it can be bound again");
        let mode = path.metadata().expect("it is there").permissions().mode();
        assert_eq!(mode & 0o7777, 0o666);
    }

    #[test]
    fn a_socket_may_lie_deep() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let deep = dir.path().join("a".repeat(100)).join("b".repeat(100));
        std::fs::create_dir_all(&deep).expect("writable");
        let path = deep.join("socket");
        assert!(UnixStream::connect(&path).is_err());
        let short = SocketPath::new(&path).expect("a directory");
        let _listener = UnixListener::bind(short.as_path()).expect("it can be bound");
        let again = SocketPath::new(&path).expect("a directory");
        UnixStream::connect(again.as_path()).expect("it can be connected to");
    }
}
