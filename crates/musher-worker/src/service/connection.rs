//! One connection to the service, whatever bytes it runs over.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

use super::busy::BusyGuard;
use super::lease::Lease;

/// Who is at the other end of a connection. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Caller(Arc<Mutex<Arc<str>>>);

impl Caller {
    /// It said which coordinator it is.
    pub(super) fn is_called(&self, name: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = name.into();
    }

    /// Which coordinator it is; empty if it did not say.
    pub(super) fn name(&self) -> Arc<str> {
        let name = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        name.clone()
    }

    /// Its lease of this number.
    pub(super) fn lease(&self, number: u64) -> Lease {
        Lease {
            owner: self.name(),
            number,
        }
    }

    /// Its leases of these numbers.
    pub(super) fn leases(&self, numbers: &[u64]) -> Vec<Lease> {
        numbers.iter().map(|number| self.lease(*number)).collect()
    }
}

/// A connection, counted while it is open.
pub(super) struct Connection<T> {
    stream: T,
    caller: Caller,
    _busy: BusyGuard,
}

impl<T> Connection<T> {
    pub(super) fn new(stream: T, busy: BusyGuard) -> Self {
        Self {
            stream,
            caller: Caller::default(),
            _busy: busy,
        }
    }
}

impl<T> Connected for Connection<T> {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Connection<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Connection<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
