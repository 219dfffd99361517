//! Who is connected to the control socket, counted, so that a daemon that was
//! started for someone can end after the last one left.

use std::fs;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::server::{Connected, UdsConnectInfo};

/// How long a connection may wait to be accepted, and then counted.
const BACKLOG: Duration = Duration::from_millis(200);

/// How many are connected.
#[derive(Debug, Clone)]
pub(super) struct Clients(watch::Sender<usize>);

/// A connection; counted until it is dropped.
pub(super) struct Client {
    stream: UnixStream,
    count: watch::Sender<usize>,
}

impl Clients {
    pub(super) fn none() -> Self {
        Self(watch::Sender::new(0))
    }

    /// The connections that come to `listener`.
    pub(super) fn of(
        &self,
        listener: UnixListener,
    ) -> impl Stream<Item = io::Result<Client>> + use<> {
        let count = self.0.clone();
        UnixListenerStream::new(listener).map(move |stream| {
            let count = count.clone();
            count.send_modify(|count| *count += 1);
            match stream {
                Ok(stream) => Ok(Client { stream, count }),
                Err(error) => {
                    count.send_modify(|count| *count -= 1);
                    Err(error)
                }
            }
        })
    }

    /// Waits until nobody has been connected for as long as `linger`.
    pub(super) async fn gone_for(&self, linger: Duration) {
        let mut count = self.0.subscribe();
        loop {
            // The sender is ours.
            let _ = count.wait_for(|count| *count == 0).await;
            let came = count.wait_for(|count| *count > 0);
            if timeout(linger, came).await.is_err() {
                return;
            }
        }
    }
}

impl Clients {
    /// Takes the socket at `path` away, and says whether nobody had connected
    /// to it in time to be counted; else it is put back.
    pub(super) async fn stay_away(&self, path: &Path) -> bool {
        let aside = path.with_extension("closing");
        if fs::rename(path, &aside).is_err() {
            // It is gone already: nobody can come.
            return true;
        }
        let mut count = self.0.subscribe();
        let came = count.wait_for(|count| *count > 0);
        if timeout(BACKLOG, came).await.is_err() {
            // It leads nowhere any more.
            let _ = fs::remove_file(&aside);
            return true;
        }
        // Whoever sees none meanwhile waits for us to end before another starts.
        fs::rename(&aside, path).is_err()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.count.send_modify(|count| *count -= 1);
    }
}

impl Connected for Client {
    type ConnectInfo = UdsConnectInfo;

    fn connect_info(&self) -> UdsConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Client {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Client {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::StreamExt;
    use tokio::net::{UnixListener, UnixStream};
    use tokio::time::{Instant, advance, timeout};

    use super::Clients;

    const LINGER: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn the_last_one_to_leave_begins_the_wait() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("socket");
        let clients = Clients::none();
        let mut come = clients.of(UnixListener::bind(&path).expect("a socket"));
        let _near = UnixStream::connect(&path).await.expect("it listens");
        let client = come.next().await.expect("one").expect("a connection");
        assert!(timeout(LINGER * 9, clients.gone_for(LINGER)).await.is_err());
        drop(client);
        advance(LINGER / 2).await;
        let since = Instant::now();
        clients.gone_for(LINGER).await;
        assert_eq!(since.elapsed(), LINGER);
    }

    #[tokio::test]
    async fn whoever_comes_at_the_last_moment_is_served() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("socket");
        let clients = Clients::none();
        let mut come = clients.of(UnixListener::bind(&path).expect("a socket"));
        // It is connected, and was not accepted when it was decided to end.
        let near = UnixStream::connect(&path).await.expect("it listens");
        let (away, client) = tokio::join!(clients.stay_away(&path), come.next());
        let client = client.expect("one").expect("a connection");
        assert!(!away);
        drop((near, client));
        UnixStream::connect(&path).await.expect("it listens again");
        let client = come.next().await.expect("one").expect("a connection");
        drop(client);
        assert!(clients.stay_away(&path).await);
        assert!(UnixStream::connect(&path).await.is_err());
        assert_eq!(dir.path().read_dir().expect("read").count(), 0);
    }
}
