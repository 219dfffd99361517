//! gRPC over one transport. What to do about a broken one is decided by whoever
//! opened it: it is never connected again from here.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use musher_api::limits::{CONNECTION_WINDOW, FRAME, MESSAGE, SILENCE, STREAM_WINDOW};
use musher_store::StoreError;
use musher_store::transport::{BoxReader, BoxWriter, Peer, Transport};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::Status;
use tonic::transport::Endpoint;
use tower::service_fn;

use super::{Client, is_lost, refused};

/// How long to wait for a broken connection's program to say why it ended.
const PEER_END: Duration = Duration::from_millis(500);

/// What is spoken over one transport.
pub(crate) struct Channel {
    pub(super) client: Client,
    /// Its drop ends the connection.
    peer: Peer,
}

impl Channel {
    /// gRPC over `transport`.
    pub(super) async fn open(transport: Transport) -> Result<Self, StoreError> {
        let Transport {
            reader,
            writer,
            peer,
        } = transport;
        let mut wire = Some(Wire { reader, writer });
        let connector = service_fn(move |_| {
            let wire = wire.take();
            async move {
                wire.map(TokioIo::new)
                    .ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))
            }
        });
        let channel = Endpoint::from_static("http://worker")
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .http2_adaptive_window(false)
            .max_frame_size(FRAME)
            .http2_keep_alive_interval(SILENCE)
            .keep_alive_timeout(SILENCE)
            .connect_with_connector(connector)
            .await;
        match channel {
            Ok(channel) => Ok(Self {
                client: Client::new(channel)
                    .max_decoding_message_size(MESSAGE)
                    .max_encoding_message_size(MESSAGE),
                peer,
            }),
            Err(error) => Err(StoreError::Worker {
                attempt: "speak gRPC",
                message: crate::error_text(&error),
            }),
        }
    }

    /// Why a call failed: what the worker said, or how its program ended.
    pub(super) async fn failure(&self, attempt: &'static str, status: &Status) -> StoreError {
        if !is_lost(status) {
            return refused(attempt, status);
        }
        let end = self.peer.ended(PEER_END).await;
        match (&end.exit, end.said.is_empty()) {
            (None, true) => refused(attempt, status),
            (Some(_), _) | (None, false) => StoreError::WorkerGone { end: Box::new(end) },
        }
    }
}

/// The two halves of a transport as one.
struct Wire {
    reader: BoxReader,
    writer: BoxWriter,
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.reader).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.writer.is_write_vectored()
    }
}
