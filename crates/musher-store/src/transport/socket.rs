//! Unix sockets whose path is longer than the address of a socket can be.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

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

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::SocketPath;

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
