//! The way to the coordinator: its socket, and a gRPC channel on it. Knows
//! nothing of what is asked.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use musher_api::coordinator::coordinator_client::CoordinatorClient;
use musher_store::transport::SocketPath;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;
use tracing::debug;

use super::CoordinatorError;
use super::outage::Outage;

/// What HTTP/2 lets the coordinator send ahead on one stream, and on all. The
/// rest waits at its end.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// The most bytes of one message: an end of a build with all of its outputs'
/// references.
const MESSAGE: usize = 64 << 20;

/// How long to wait for a coordinator that has never answered.
const FIRST_ANSWER: Duration = Duration::from_secs(30);

pub(super) type Client = CoordinatorClient<Channel>;

/// Starts a coordinator where none listens; an error says why that cannot be.
pub type StartCoordinator =
    Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>>>> + Send>;

/// The coordinator of this session. It may be away; it is connected to when
/// something is asked.
pub(crate) struct Coordinator {
    socket: PathBuf,
    start: Option<StartCoordinator>,
    client: Option<Client>,
    /// The first connection, being made beside whatever else happens.
    connecting: Option<JoinHandle<io::Result<Client>>>,
    /// Whether it ever answered.
    reached: bool,
    outage: Option<Outage>,
}

/// What came of one attempt to reach the coordinator.
pub(super) enum Reached {
    /// It is there.
    Client(Client),
    /// It is not, and the client should know.
    Tell,
    /// It is not, for now.
    Away,
}

impl Coordinator {
    /// The coordinator that listens on `socket`, to which a connection is being
    /// made.
    ///
    /// Must be called within a tokio runtime.
    pub(crate) fn connect_to(socket: PathBuf) -> Self {
        let path = socket.clone();
        Self {
            connecting: Some(tokio::spawn(async move { connect(&path).await })),
            ..Self::on_demand(socket, None)
        }
    }

    /// The coordinator that listens on `socket`; if none does when one is
    /// needed, `start` starts one.
    pub(crate) fn on_demand(socket: PathBuf, start: Option<StartCoordinator>) -> Self {
        Self {
            socket,
            start,
            client: None,
            connecting: None,
            reached: false,
            outage: None,
        }
    }

    /// Its socket.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Whether it ever answered.
    pub(crate) fn was_reached(&self) -> bool {
        self.reached
    }

    /// Tries to reach it, after the pause that an outage demands. Nothing is
    /// lost when the future is dropped.
    pub(super) async fn reach(&mut self) -> Result<Reached, CoordinatorError> {
        if let Some(outage) = &self.outage {
            tokio::time::sleep_until(outage.retry_at()).await;
        }
        if let Some(client) = &self.client {
            return Ok(Reached::Client(client.clone()));
        }
        let mut connected = self.connect().await;
        if let (Err(error), Some(start)) = (&connected, &self.start)
            && is_absent(error)
        {
            let started = start().await;
            started.map_err(|reason| CoordinatorError::NotStarted { reason })?;
            connected = connect(&self.socket).await;
        }
        match connected {
            Ok(client) => {
                self.connected(&client);
                Ok(Reached::Client(client))
            }
            Err(source) => self.unreachable(source),
        }
    }

    /// The coordinator if it is there; nothing is waited for, and none is
    /// started.
    pub(super) async fn reach_now(&mut self) -> Option<Client> {
        if let Some(client) = &self.client {
            return Some(client.clone());
        }
        let is_away = |outage: &Outage| Instant::now() < outage.retry_at();
        if self.outage.as_ref().is_some_and(is_away) {
            return None;
        }
        match self.connect().await {
            Ok(client) => {
                self.connected(&client);
                Some(client)
            }
            Err(error) => {
                debug!(%error, "the coordinator is not there");
                self.fail(Instant::now());
                None
            }
        }
    }

    /// A way to it, if one is open.
    pub(super) fn open_channel(&self) -> Option<Client> {
        self.client.clone()
    }

    fn connected(&mut self, client: &Client) {
        self.reached = true;
        self.client = Some(client.clone());
    }

    async fn connect(&mut self) -> io::Result<Client> {
        let Some(connecting) = &mut self.connecting else {
            return connect(&self.socket).await;
        };
        let connected = connecting.await;
        self.connecting = None;
        connected.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    fn unreachable(&mut self, source: io::Error) -> Result<Reached, CoordinatorError> {
        debug!(error = %source, "the coordinator cannot be reached");
        let socket = self.socket.clone();
        if source.kind() == io::ErrorKind::PermissionDenied {
            return Err(CoordinatorError::Denied { socket, source });
        }
        let now = Instant::now();
        let outage = self.fail(now);
        if outage.lasted(now) >= FIRST_ANSWER && !self.reached {
            return Err(CoordinatorError::NeverReached { socket, source });
        }
        Ok(self.tell_or_wait(now))
    }

    /// A call on the channel failed in a way that passes.
    pub(super) fn lost(&mut self) -> Reached {
        self.client = None;
        let now = Instant::now();
        self.fail(now);
        self.tell_or_wait(now)
    }

    /// It answered a question: whatever was wrong has passed.
    pub(super) fn answered(&mut self) {
        self.outage = None;
    }

    fn fail(&mut self, now: Instant) -> &Outage {
        match &mut self.outage {
            Some(outage) => outage.failed(now),
            None => self.outage = Some(Outage::new(now)),
        }
        self.outage.get_or_insert_with(|| Outage::new(now))
    }

    fn tell_or_wait(&mut self, now: Instant) -> Reached {
        let reached = self.reached;
        let tell = (self.outage.as_mut()).is_some_and(|outage| outage.tell(now, reached));
        if tell { Reached::Tell } else { Reached::Away }
    }
}

impl fmt::Debug for Coordinator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coordinator")
            .field("socket", &self.socket)
            .field("reached", &self.reached)
            .finish_non_exhaustive()
    }
}

/// Whether nobody listens.
fn is_absent(error: &io::Error) -> bool {
    let absent = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
    absent.contains(&error.kind())
}

async fn connect(socket: &Path) -> io::Result<Client> {
    let short = SocketPath::new(socket)?;
    let mut stream = Some(UnixStream::connect(short.as_path()).await?);
    // Only once: what to do about a broken connection is decided here, not by
    // the channel.
    let connector = service_fn(move |_| {
        let stream = stream.take();
        async move {
            stream
                .map(TokioIo::new)
                .ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))
        }
    });
    let channel = Endpoint::from_static("http://coordinator")
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .connect_with_connector(connector)
        .await
        .map_err(io::Error::other)?;
    Ok(CoordinatorClient::new(channel).max_decoding_message_size(MESSAGE))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn one_is_started_only_if_it_is_needed() {
        let dir = tempfile::tempdir().expect("a directory");
        let started = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&started);
        let start: StartCoordinator = Box::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            Box::pin(async { Err("the disk is full".to_owned()) })
        });
        let socket = dir.path().join("control.sock");
        let mut coordinator = Coordinator::on_demand(socket, Some(start));
        assert!(coordinator.reach_now().await.is_none());
        assert_eq!(started.load(Ordering::Relaxed), 0);
        let Err(error) = coordinator.reach().await else {
            panic!("nobody listens");
        };
        assert_eq!(started.load(Ordering::Relaxed), 1);
        let text = error.to_string();
        assert_eq!(text, "no coordinator could be started: the disk is full");
    }
}
