//! Moves bytes between the client and its protocol session, and notices when
//! the client is gone. Knows no request.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use musher_protocol::{serve, worker};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::stdio::{Input, Output};

/// The most bytes read at once.
const READ: usize = 64 << 10;

/// How often to look whether a client is still there that has sent more than
/// is taken ahead.
const LOOK: Duration = Duration::from_millis(250);

/// The server's end of a protocol without its I/O.
pub(crate) trait Session {
    /// What the client says.
    type Event;
    /// What can be wrong with the client's bytes.
    type Error;

    /// Takes bytes from the client.
    fn receive(&mut self, bytes: &[u8]);
    /// The client sends nothing more.
    fn end(&mut self);
    /// Whether more bytes should be read.
    fn wants_input(&self) -> bool;
    /// Gives what is to be sent.
    fn take_output(&mut self) -> Bytes;
    /// The next thing the client said, if there is one by now.
    fn next_event(&mut self) -> Option<Result<Self::Event, Self::Error>>;
}

macro_rules! session {
    ($protocol:ident) => {
        impl Session for $protocol::ServerSession {
            type Event = $protocol::ServerEvent;
            type Error = $protocol::SessionError;

            fn receive(&mut self, bytes: &[u8]) {
                Self::receive(self, bytes);
            }

            fn end(&mut self) {
                Self::end(self);
            }

            fn wants_input(&self) -> bool {
                Self::wants_input(self)
            }

            fn take_output(&mut self) -> Bytes {
                Self::take_output(self)
            }

            fn next_event(&mut self) -> Option<Result<Self::Event, Self::Error>> {
                Self::next_event(self)
            }
        }
    };
}

session!(worker);
session!(serve);

/// The client is not there any more.
#[derive(Debug)]
pub(crate) enum Gone {
    /// It hung up.
    HungUp,
    /// Its stream broke.
    Broken(io::Error),
}

/// Why there is no next event.
#[derive(Debug)]
pub(crate) enum WireError<E> {
    /// The client's bytes make no sense. What the session had to say to that
    /// was sent.
    Session(E),
    /// The client is gone.
    Gone(Gone),
}

/// A session and the client's streams.
#[derive(Debug)]
pub(crate) struct Wire<S> {
    pub(crate) session: S,
    input: Input,
    output: Output,
    /// Taken from the session and not written yet.
    unsent: Bytes,
    received: BytesMut,
    /// Whether the client sends nothing more.
    ended: bool,
}

impl<S: Session> Wire<S> {
    pub(crate) fn new(session: S, input: Input, output: Output) -> Self {
        Self {
            session,
            input,
            output,
            unsent: Bytes::new(),
            received: BytesMut::new(),
            ended: false,
        }
    }

    /// The next thing the client says. Sends what is to be sent meanwhile.
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn event(&mut self) -> Result<S::Event, WireError<S::Error>> {
        loop {
            match self.session.next_event() {
                Some(Ok(event)) => return Ok(event),
                Some(Err(error)) => {
                    // It may have gone already; then nobody needs to hear it.
                    let _ = self.flush().await;
                    return Err(WireError::Session(error));
                }
                None if self.ended && self.is_flushed() => {
                    return Err(WireError::Gone(Gone::HungUp));
                }
                None => self.exchange().await.map_err(WireError::Gone)?,
            }
        }
    }

    /// Sends all that is to be sent. Reads meanwhile, as far ahead as the
    /// session wants.
    pub(crate) async fn flush(&mut self) -> Result<(), Gone> {
        while !self.is_flushed() {
            self.exchange().await?;
        }
        Ok(())
    }

    /// Waits until the client is gone, for as long as it waits for an answer.
    /// Sends what is to be sent meanwhile. Nothing is lost when the future is
    /// dropped.
    pub(crate) async fn gone(&mut self) -> Gone {
        while !self.ended {
            if self.session.wants_input() || !self.is_flushed() {
                if let Err(gone) = self.exchange().await {
                    return gone;
                }
            } else if self.input.has_hung_up() {
                break;
            } else {
                tokio::time::sleep(LOOK).await;
            }
        }
        Gone::HungUp
    }

    fn is_flushed(&mut self) -> bool {
        if self.unsent.is_empty() {
            self.unsent = self.session.take_output();
        }
        self.unsent.is_empty()
    }

    /// Reads some, or writes some, whichever is possible first.
    async fn exchange(&mut self) -> Result<(), Gone> {
        let flushed = self.is_flushed();
        let reads = !self.ended && (flushed || self.session.wants_input());
        self.received.reserve(READ);
        let read = tokio::select! {
            biased;
            written = self.output.write(&self.unsent), if !flushed => {
                self.unsent.advance(written.map_err(broken)?);
                return Ok(());
            }
            read = self.input.read_buf(&mut self.received), if reads => read,
        };
        match read.map_err(broken)? {
            0 => {
                self.ended = true;
                self.session.end();
            }
            _ => self.session.receive(&self.received.split()),
        }
        Ok(())
    }
}

/// What `work` comes to, unless the client hangs up before.
pub(crate) async fn unless_gone<S: Session, T>(
    client: &mut Wire<S>,
    work: impl Future<Output = T>,
) -> Result<T, Gone> {
    tokio::select! {
        biased;
        done = work => Ok(done),
        gone = client.gone() => Err(gone),
    }
}

fn broken(error: io::Error) -> Gone {
    let left = [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset];
    if left.contains(&error.kind()) {
        Gone::HungUp
    } else {
        Gone::Broken(error)
    }
}
