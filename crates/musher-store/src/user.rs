//! What a nix-daemon of this host thinks of one of its users, asked in that
//! user's place: it looks at who connects, and at nothing that is said.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;

use musher_protocol::worker::{ClientConfig, Trust};
use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_res_gid, set_thread_res_uid};

use crate::connector::Way;
use crate::transport::{SocketPath, Transport, TransportError};
use crate::{StoreError, WorkerConnection, WorkerStore};

/// A user, with the group that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct User {
    /// The number of the user.
    pub uid: u32,
    /// That of the group.
    pub gid: u32,
}

impl WorkerStore {
    /// How far the nix-daemon behind this store trusts `user`. Nobody but root
    /// may ask for others, and only of a daemon that listens.
    pub async fn trust_of(&self, user: User) -> Result<Trust, StoreError> {
        let Way::Socket(path) = self.way() else {
            let what = "telling users apart";
            return Err(StoreError::Unsupported { what });
        };
        let socket = path.clone();
        let connected = tokio::task::spawn_blocking(move || connect_as(user, &socket));
        let connected = connected
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)));
        let stream = connected.and_then(|stream| {
            stream.set_nonblocking(true)?;
            tokio::net::UnixStream::from_std(stream)
        });
        let stream = stream.map_err(|source| {
            let path = path.clone();
            StoreError::Open(TransportError::Socket { path, source })
        })?;
        let transport = Transport::stream(stream, path.display().to_string());
        let config = ClientConfig::new(self.config().store_dir.clone());
        let mut connection = WorkerConnection::open(transport, config).await?;
        connection.trust().await
    }
}

/// Connects in the place of `user`.
fn connect_as(user: User, socket: &Path) -> io::Result<UnixStream> {
    let socket = SocketPath::new(socket)?;
    // Linux keeps users by the thread. This one does nothing else, and is gone
    // before anything else can be done with it.
    let connected = std::thread::scope(|scope| {
        let connecting = scope.spawn(|| {
            set_thread_res_gid(None::<Gid>, Gid::from_raw(user.gid), None::<Gid>)?;
            set_thread_res_uid(None::<Uid>, Uid::from_raw(user.uid), None::<Uid>)?;
            UnixStream::connect(socket.as_path())
        });
        connecting.join()
    });
    connected.unwrap_or_else(|_| Err(io::Error::other("bug: the thread that connects panicked")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_connects_is_the_user() {
        if !rustix::process::geteuid().is_root() {
            // Nobody else can be somebody else.
            return;
        }
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("socket");
        std::fs::set_permissions(
            dir.path(),
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )
        .expect("ours");
        let listener = crate::transport::listen_publicly(&path).expect("a socket");
        let listener = tokio::net::UnixListener::from_std(listener).expect("a socket");
        let user = User {
            uid: 4321,
            gid: 1234,
        };
        let connecting = tokio::task::spawn_blocking(move || connect_as(user, &path));
        let (stream, _) = listener.accept().await.expect("a connection");
        let peer = stream.peer_cred().expect("a peer");
        assert_eq!((peer.uid(), peer.gid()), (4321, 1234));
        connecting.await.expect("no panic").expect("connected");
        assert!(rustix::process::geteuid().is_root());
    }
}
