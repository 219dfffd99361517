//! The worker's socket: where only its owner and root come in.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;

use futures_util::{Stream, stream};
use musher_store::transport::{SocketPath, listen_privately};
use rustix::process::geteuid;
use tokio::net::{UnixListener, UnixStream};
use tracing::warn;

use super::WorkerError;

/// Makes `dir`, and makes sure that nobody but us may enter it.
pub(crate) fn private_dir(dir: &Path) -> Result<(), WorkerError> {
    let parent = dir.parent().unwrap_or(dir);
    fs::create_dir_all(parent).map_err(WorkerError::file("make the directory", parent))?;
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(WorkerError::file("make the directory", dir)(error));
        }
        Ok(()) | Err(_) => {}
    }
    let found = fs::symlink_metadata(dir).map_err(WorkerError::file("look at", dir))?;
    let ours = found.is_dir() && found.uid() == geteuid().as_raw() && found.mode() & 0o077 == 0;
    match ours {
        true => Ok(()),
        false => Err(WorkerError::NotPrivate {
            dir: dir.to_owned(),
        }),
    }
}

/// Listens on `path`, in place of whoever left a socket there.
pub(super) fn listen(path: &Path) -> Result<UnixListener, WorkerError> {
    listen_privately(path)
        .and_then(UnixListener::from_std)
        .map_err(WorkerError::file("listen on", path))
}

/// Whether somebody listens on `path`.
pub(super) fn answers(path: &Path) -> bool {
    let connected = SocketPath::new(path)
        .and_then(|short| std::os::unix::net::UnixStream::connect(short.as_path()));
    connected.is_ok()
}

/// The connections of those who may come in.
pub(super) fn accepted(listener: UnixListener) -> impl Stream<Item = UnixStream> + Send {
    stream::unfold(listener, async |listener| {
        loop {
            match listener.accept().await {
                Ok((stream, _)) if may_enter(&stream) => return Some((stream, listener)),
                Ok(_) => warn!("somebody else's connection refused"),
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    // Mostly for want of file descriptors, which come back.
                    tokio::time::sleep(super::LOOK).await;
                }
            }
        }
    })
}

/// Only we ourselves and root, whatever the modes of files say.
fn may_enter(stream: &UnixStream) -> bool {
    let uid = stream.peer_cred().map(|peer| peer.uid());
    uid.is_ok_and(|uid| uid == 0 || uid == geteuid().as_raw())
}
