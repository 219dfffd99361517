//! Hears of new paths in use while garbage is collected: a socket to which Nix,
//! and we, send each path on a line, and wait for `1`.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use nix_derivation::{StoreDir, StorePath};

use super::super::LocalError;
use super::super::layout::Layout;

/// Connections at one time.
const CLIENTS: usize = 256;
/// The longest line; paths are shorter.
const LINE: u64 = 4096;

/// A path's hash part, which its lock and its unpacked beginnings share.
type HashPart = [u8; 20];

/// The collector's end.
pub(super) struct RootServer {
    state: Arc<State>,
    socket: PathBuf,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    shared: Mutex<Shared>,
    deleted: Condvar,
}

#[derive(Default)]
struct Shared {
    in_use: BTreeSet<HashPart>,
    /// What is being deleted right now; clients wait until it is gone.
    pending: BTreeSet<HashPart>,
    clients: Vec<UnixStream>,
    ended: bool,
}

impl State {
    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RootServer {
    /// Starts to listen. The caller holds the collector's lock.
    pub(super) fn start(layout: &Layout) -> Result<Self, LocalError> {
        let socket = layout.gc_socket();
        let failed = LocalError::io("listen at", &socket);
        let listener = listen(&socket).map_err(&failed)?;
        let state = Arc::new(State::default());
        let store_dir = layout.store_dir.clone();
        let thread = {
            let state = Arc::clone(&state);
            thread::Builder::new()
                .name("gc-roots".to_owned())
                .spawn(move || accept(&listener, &state, &store_dir))
                .map_err(failed)?
        };
        Ok(Self {
            state,
            socket,
            thread: Some(thread),
        })
    }

    /// Adds paths in use that were found otherwise.
    pub(super) fn add<'a>(&self, paths: impl IntoIterator<Item = &'a StorePath>) {
        let hash_parts = paths.into_iter().map(|path| *path.digest());
        self.state.shared().in_use.extend(hash_parts);
    }

    /// Announces that something with this hash part is about to be deleted,
    /// unless it is in use. Whether it may be.
    pub(super) fn begin(&self, hash_part: &HashPart) -> bool {
        let mut shared = self.state.shared();
        let free = !shared.in_use.contains(hash_part);
        if free {
            shared.pending.insert(*hash_part);
        }
        free
    }

    /// It is gone, or stays after all.
    pub(super) fn end(&self, hash_part: &HashPart) {
        self.state.shared().pending.remove(hash_part);
        self.state.deleted.notify_all();
    }
}

impl Drop for RootServer {
    fn drop(&mut self) {
        {
            let mut shared = self.state.shared();
            shared.ended = true;
            shared.pending.clear();
            for client in &shared.clients {
                let _ = client.shutdown(Shutdown::Both);
            }
        }
        self.state.deleted.notify_all();
        // It waits for somebody to connect.
        let woken = connect(&self.socket);
        if let (Some(thread), Ok(_)) = (self.thread.take(), woken) {
            let _ = thread.join();
        }
    }
}

/// A socket that everybody may connect to. Its path may be longer than socket
/// paths can be, so it is named through its directory.
fn listen(socket: &Path) -> std::io::Result<UnixListener> {
    let dir = socket.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(dir)?;
    match fs::remove_file(socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let dir = File::open(dir)?;
    let listener = UnixListener::bind(through(&dir, socket))?;
    fs::set_permissions(socket, Permissions::from_mode(0o666))?;
    Ok(listener)
}

/// Connects to a collector's socket.
pub(in crate::local) fn connect(socket: &Path) -> std::io::Result<UnixStream> {
    let dir = File::open(socket.parent().unwrap_or(Path::new("/")))?;
    UnixStream::connect(through(&dir, socket))
}

fn through(dir: &File, socket: &Path) -> PathBuf {
    let name = socket.file_name().unwrap_or_default();
    PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd())).join(name)
}

fn accept(listener: &UnixListener, state: &Arc<State>, store_dir: &StoreDir) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    for client in listener.incoming() {
        if state.shared().ended {
            break;
        }
        threads.retain(|thread| !thread.is_finished());
        let Ok(client) = client else {
            continue;
        };
        if threads.len() >= CLIENTS {
            continue;
        }
        let Ok(other_end) = client.try_clone() else {
            continue;
        };
        state.shared().clients.push(other_end);
        let (state, store_dir) = (Arc::clone(state), store_dir.clone());
        let hear = move || {
            // A client that breaks off asks again.
            let _ = hear(&client, &state, &store_dir);
        };
        let thread = thread::Builder::new()
            .name("gc-root".to_owned())
            .spawn(hear);
        threads.extend(thread.ok());
    }
    for thread in threads {
        let _ = thread.join();
    }
}

fn hear(client: &UnixStream, state: &State, store_dir: &StoreDir) -> std::io::Result<()> {
    let mut reader = BufReader::new(client);
    loop {
        let mut line = Vec::new();
        (&mut reader).take(LINE).read_until(b'\n', &mut line)?;
        let Some(path) = line.strip_suffix(b"\n") else {
            return Ok(());
        };
        if let Ok(path) = store_dir.parse_path(path) {
            let mut shared = state.shared();
            shared.in_use.insert(*path.digest());
            while shared.pending.contains(path.digest()) && !shared.ended {
                shared = state
                    .deleted
                    .wait(shared)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        }
        let mut client = client;
        client.write_all(b"1")?;
    }
}
