//! Puts NARs that come in pieces into the store, on a thread of its own, one
//! after the other. What waits for the disk is bounded.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use musher_protocol::types::PathInfo;
use musher_store::local::{ImportChecks, LocalError, LocalStore, Wanted, Wanter};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};
use tonic::Status;

use super::{broken, refused_by_store};

/// Pieces that may wait between the connection and the disk; at 64 KiB each.
const WAITING: usize = 16;

/// A piece of what comes.
enum Piece {
    Path(Box<PathInfo>),
    Bytes(Bytes),
}

/// Paths on their way into the store.
pub(super) struct Import {
    pieces: mpsc::Sender<Piece>,
    thread: JoinHandle<Result<(), LocalError>>,
    /// The thread may wait for somebody else, but not for longer than we do.
    _wanter: Wanter,
    /// Bytes that the NAR of the current path still lacks.
    lacking: u64,
}

impl Import {
    /// Begins. Once dropped, the path under way is abandoned.
    pub(super) fn start(store: Arc<LocalStore>) -> Self {
        let (pieces, receiver) = mpsc::channel(WAITING);
        let wanter = Wanter::default();
        let wanted = wanter.wanted();
        let thread = spawn_blocking(move || import_all(&store, receiver, wanted));
        Self {
            pieces,
            thread,
            _wanter: wanter,
            lacking: 0,
        }
    }

    /// The next path; its NAR follows.
    pub(super) async fn path(&mut self, info: PathInfo) -> Result<(), Status> {
        self.complete()?;
        self.lacking = info.nar_size;
        self.send(Piece::Path(Box::new(info))).await
    }

    /// The next bytes of its NAR.
    pub(super) async fn chunk(&mut self, bytes: Bytes) -> Result<(), Status> {
        if bytes.is_empty() {
            return Ok(());
        }
        let lacking = self.lacking.checked_sub(bytes.len() as u64);
        self.lacking = lacking.ok_or_else(|| broken("more bytes than the NAR has"))?;
        self.send(Piece::Bytes(bytes)).await
    }

    /// Waits until all is registered.
    pub(super) async fn finish(self) -> Result<(), Status> {
        self.complete()?;
        drop(self.pieces);
        outcome(self.thread.await)
    }

    fn complete(&self) -> Result<(), Status> {
        match self.lacking {
            0 => Ok(()),
            _ => Err(broken("fewer bytes than the NAR has")),
        }
    }

    async fn send(&mut self, piece: Piece) -> Result<(), Status> {
        if self.pieces.send(piece).await.is_ok() {
            return Ok(());
        }
        // The thread ends first only because something went wrong.
        let ended = outcome((&mut self.thread).await);
        Err(ended.err().unwrap_or_else(|| broken("bytes after the end")))
    }
}

fn outcome(ended: Result<Result<(), LocalError>, tokio::task::JoinError>) -> Result<(), Status> {
    match ended {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(refused_by_store(&error)),
        Err(error) => Err(Status::internal(format!("the import broke off: {error}"))),
    }
}

fn import_all(
    store: &LocalStore,
    mut pieces: mpsc::Receiver<Piece>,
    wanted: Wanted,
) -> Result<(), LocalError> {
    // Whoever started this worker is trusted; hashes are checked all the same.
    let importer = store.importer(ImportChecks::default())?;
    let mut importer = importer.while_wanted(wanted);
    while let Some(piece) = pieces.blocking_recv() {
        let Piece::Path(info) = piece else {
            // `Import` lets no byte through that no path waits for.
            continue;
        };
        let mut nar = NarBytes {
            pieces: &mut pieces,
            current: Bytes::new(),
            lacking: info.nar_size,
        };
        importer.add(&info, &mut nar)?;
        nar.skip();
    }
    importer.finish()
}

/// The bytes of one NAR, and not one more.
struct NarBytes<'a> {
    pieces: &'a mut mpsc::Receiver<Piece>,
    current: Bytes,
    lacking: u64,
}

impl NarBytes<'_> {
    /// Passes over what was not read: that of a path which became valid.
    fn skip(mut self) {
        // An end that comes too early is seen when the next piece is awaited.
        let _ = io::copy(&mut self, &mut io::sink());
    }
}

impl Read for NarBytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.current.is_empty() && self.lacking > 0 {
            match self.pieces.blocking_recv() {
                Some(Piece::Bytes(bytes)) => {
                    self.lacking = self.lacking.saturating_sub(bytes.len() as u64);
                    self.current = bytes;
                }
                Some(Piece::Path(_)) | None => {
                    let text = "the connection broke off in the middle of the NAR";
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
                }
            }
        }
        let count = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}
