//! Moves bytes between a transport and one end of a protocol. Knows neither the
//! protocol nor a store.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::transport::Transport;
use crate::{NAR_CHUNK, StoreError};

/// One end of a protocol without its I/O.
pub(crate) trait Session {
    /// What it reports.
    type Event;
    /// What can be wrong with the other end's bytes.
    type Error;

    /// Takes bytes that came from the other end.
    fn receive(&mut self, bytes: &[u8]);
    /// The other end will send nothing more.
    fn end(&mut self);
    /// Whether more should be read while something is written; always where
    /// what the other end sends is what was asked for.
    fn wants_input(&self) -> bool {
        true
    }
    /// Gives what is to be sent.
    fn take_output(&mut self) -> Bytes;
    /// The next thing to report, if the bytes so far make one.
    fn next_event(&mut self) -> Option<Result<Self::Event, Self::Error>>;
}

/// A session and its transport.
pub(crate) struct Wire<S> {
    pub(crate) transport: Transport,
    pub(crate) session: S,
    /// Taken from the session and not written yet.
    unsent: Bytes,
    received: BytesMut,
    /// Whether the session was told that nothing more will come.
    ended: bool,
}

/// Why there is no next event.
pub(crate) enum WireError<E> {
    /// The session does not accept what came.
    Session(E),
    /// The transport failed.
    Store(StoreError),
}

impl<S: Session> Wire<S> {
    pub(crate) fn new(transport: Transport, session: S) -> Self {
        Self {
            transport,
            session,
            unsent: Bytes::new(),
            received: BytesMut::new(),
            ended: false,
        }
    }

    /// The next event. Writes what is to be sent meanwhile.
    pub(crate) async fn event(&mut self) -> Result<S::Event, WireError<S::Error>> {
        loop {
            if let Some(event) = self.session.next_event() {
                return event.map_err(WireError::Session);
            }
            self.exchange().await.map_err(WireError::Store)?;
        }
    }

    /// Writes all that is to be sent. Reads meanwhile, so that neither end
    /// waits for the other; what that brings waits for [`Self::event`].
    pub(crate) async fn flush(&mut self) -> Result<(), StoreError> {
        while !self.is_flushed() {
            self.exchange().await?;
        }
        Ok(())
    }

    /// Whether nothing is left to be written.
    pub(crate) fn is_flushed(&mut self) -> bool {
        if self.unsent.is_empty() {
            self.unsent = self.session.take_output();
        }
        self.unsent.is_empty()
    }

    /// Whether the other end is there and says nothing, as it should between
    /// requests: one that went away while nobody listened is found out here.
    pub(crate) fn is_quiet(&mut self) -> bool {
        let read = self.transport.reader.read_buf(&mut self.received);
        read.now_or_never().is_none()
    }

    /// Reads some, or writes some, whichever is possible first.
    async fn exchange(&mut self) -> Result<(), StoreError> {
        let flushed = self.is_flushed();
        let reads = flushed || self.session.wants_input();
        self.received.reserve(NAR_CHUNK);
        let Transport { reader, writer, .. } = &mut self.transport;
        let read = tokio::select! {
            biased;
            written = writer.write(&self.unsent), if !flushed => match written {
                Ok(count) => {
                    self.unsent.advance(count);
                    return Ok(());
                }
                // It closed; before that it may have said why.
                Err(_) => {
                    self.unsent.clear();
                    reader.read_buf(&mut self.received).await
                }
            },
            read = reader.read_buf(&mut self.received), if reads => read,
        };
        match read {
            // Whoever asks on after the end would otherwise ask for ever.
            Ok(0) if self.ended => {
                let source = io::ErrorKind::UnexpectedEof.into();
                return Err(StoreError::Transport { source });
            }
            Ok(0) => {
                self.ended = true;
                self.session.end();
            }
            Ok(_) => self.session.receive(&self.received.split()),
            Err(source) => return Err(StoreError::Transport { source }),
        }
        Ok(())
    }
}
