//! `musher worker --stdio`: passes on what a coordinator and the worker of this
//! user say to each other, and starts that worker if there is none. Knows
//! nothing of what is said.

mod retire;
mod start;

use std::io;
use std::path::Path;
use std::time::Duration;

use musher_store::transport::SocketPath;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader, copy_buf};
use tokio::net::UnixStream;

use crate::places::WorkerPlaces;
use crate::process::{WorkerError, private_dir};

/// Bytes read at once.
const BUFFER: usize = 256 << 10;

/// Which worker to reach, and how to start it.
#[derive(Debug, Clone)]
pub struct Relay {
    /// Where it is.
    pub places: WorkerPlaces,
    /// Options of a worker that is started, besides its places.
    pub options: Vec<String>,
}

/// How long a worker that was started may take to listen.
const READY: Duration = Duration::from_secs(30);

impl Relay {
    /// A connection to the worker, which is started if there is none. One of
    /// another binary than ours is asked to end once it has nothing to do.
    pub async fn connect(&self) -> Result<UnixStream, WorkerError> {
        private_dir(&self.places.private())?;
        if let Some(stream) = self.running().await? {
            return Ok(stream);
        }
        // One starter at a time: the others find what the first has started.
        let lock = start::lock(&self.places).await?;
        if let Some(stream) = self.running().await? {
            return Ok(stream);
        }
        start::start(self).await?;
        let socket = self.places.socket();
        let stream = connect(&socket).await;
        drop(lock);
        stream.map_err(WorkerError::file("connect to", &socket))
    }

    /// A connection to the worker, if there is one that stays.
    async fn running(&self) -> Result<Option<UnixStream>, WorkerError> {
        let socket = self.places.socket();
        let connected = async || match connect(&socket).await {
            Ok(stream) => Ok(Some(stream)),
            Err(error) if is_nobody_there(&error) => Ok(None),
            Err(error) => Err(WorkerError::file("connect to", &socket)(error)),
        };
        let Some(stream) = connected().await? else {
            return Ok(None);
        };
        if !retire::is_another_binary(&self.places)? {
            return Ok(Some(stream));
        }
        drop(stream);
        let Some(stream) = connected().await? else {
            return Ok(None);
        };
        match retire::retire(stream).await? {
            // It has gone at once, having nothing to do.
            retire::Retired::Gone => Ok(None),
            retire::Retired::Busy => connected().await,
        }
    }

    /// Passes on bytes until both ends have said all.
    pub async fn run(
        &self,
        input: impl AsyncRead + Unpin,
        mut output: impl AsyncWrite + Unpin,
    ) -> Result<(), WorkerError> {
        let (from_worker, mut to_worker) = self.connect().await?.into_split();
        let there = async {
            copy_buf(&mut BufReader::with_capacity(BUFFER, input), &mut to_worker).await?;
            to_worker.shutdown().await?;
            // What the worker has to say still counts, for as long as it does.
            std::future::pending::<io::Result<()>>().await
        };
        let back = async {
            let mut from_worker = BufReader::with_capacity(BUFFER, from_worker);
            copy_buf(&mut from_worker, &mut output).await?;
            output.shutdown().await
        };
        tokio::select! {
            ended = there => ended,
            ended = back => ended,
        }
        .or_else(|error| match is_hang_up(&error) {
            true => Ok(()),
            false => Err(WorkerError::Relay(error)),
        })
    }
}

fn is_nobody_there(error: &io::Error) -> bool {
    let kinds = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
    kinds.contains(&error.kind())
}

/// Whether one end hung up, which is how it goes.
fn is_hang_up(error: &io::Error) -> bool {
    let kinds = [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset];
    kinds.contains(&error.kind())
}

async fn connect(socket: &Path) -> io::Result<UnixStream> {
    let short = SocketPath::new(socket)?;
    UnixStream::connect(short.as_path()).await
}
