//! The protocol between ssh's control socket and its clients, version 4, as far
//! as it is needed: to start a command on the connection, and to end it.
//!
//! ```text
//! packet   = length:u32 type:u32 body            integers big-endian
//! string   = length:u32 bytes
//! hello    = 0x00000001 version:u32              each side, first
//! session  = 0x10000002 request:u32 reserved:string tty:u32 x11:u32 agent:u32
//!            subsystem:u32 escape:u32 terminal:string command:string
//!            and then 3 bytes, each with a descriptor: input, output, errors
//! end      = 0x10000005 request:u32
//! ok       = 0x80000001 request:u32
//! denied   = 0x80000002 request:u32 reason:string
//! failure  = 0x80000003 request:u32 reason:string
//! exit     = 0x80000004 session:u32 status:u32
//! opened   = 0x80000006 request:u32 session:u32
//! ```
//!
//! Described in OpenSSH's `PROTOCOL.mux`. Other packets are passed over.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;

const VERSION: u32 = 4;
const HELLO: u32 = 0x0000_0001;
const NEW_SESSION: u32 = 0x1000_0002;
const TERMINATE: u32 = 0x1000_0005;
const PERMISSION_DENIED: u32 = 0x8000_0002;
const FAILURE: u32 = 0x8000_0003;
const EXIT: u32 = 0x8000_0004;
const SESSION_OPENED: u32 = 0x8000_0006;

/// The only request of a connection.
const REQUEST: u32 = 1;
/// No character interrupts a session.
const NO_ESCAPE: u32 = u32::MAX;
/// ssh's packets are some dozens of bytes.
const LONGEST_PACKET: usize = 256 * 1024;

/// Why a request to ssh came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum MuxError {
    #[error("the control socket does not answer")]
    Socket(#[source] io::Error),
    #[error("ssh refused it: {reason}")]
    Refused { reason: String },
    #[error("ssh speaks version {version} of its control protocol, expected {VERSION}")]
    Version { version: u32 },
    #[error("ssh sent a packet that cannot be read, expected {expected}")]
    Packet { expected: &'static str },
}

/// A client of one ssh process.
#[derive(Debug)]
pub(super) struct Mux {
    stream: UnixStream,
}

impl Mux {
    /// Connects to the ssh process behind `socket`.
    pub(super) async fn connect(socket: &Path) -> Result<Self, MuxError> {
        let stream = UnixStream::connect(socket).await;
        let mut mux = Self {
            stream: stream.map_err(MuxError::Socket)?,
        };
        mux.send(HELLO, &[&VERSION.to_be_bytes()]).await?;
        let mut hello = mux.receive().await?;
        match (hello.kind, hello.word()) {
            (HELLO, Some(VERSION)) => Ok(mux),
            (HELLO, Some(version)) => Err(MuxError::Version { version }),
            _ => Err(MuxError::Packet { expected: "hello" }),
        }
    }

    /// Starts `command`, a line for the other host's shell, with the given
    /// input, output and errors, and waits until the host has agreed.
    pub(super) async fn open(
        mut self,
        command: &str,
        descriptors: [BorrowedFd<'_>; 3],
    ) -> Result<Opened, MuxError> {
        let no = 0_u32.to_be_bytes();
        let body: [&[u8]; 9] = [
            &REQUEST.to_be_bytes(),
            &string(""),
            &no,
            &no,
            &no,
            &no,
            &NO_ESCAPE.to_be_bytes(),
            &string(""),
            &string(command),
        ];
        self.send(NEW_SESSION, &body).await?;
        for descriptor in descriptors {
            self.hand_over(descriptor).await.map_err(MuxError::Socket)?;
        }
        loop {
            let mut answer = self.receive().await?;
            match answer.kind {
                SESSION_OPENED => return Ok(Opened { mux: self }),
                PERMISSION_DENIED | FAILURE => {
                    let reason = answer.word().and_then(|_request| answer.string());
                    return Err(MuxError::Refused {
                        reason: reason.unwrap_or_default(),
                    });
                }
                _ => {}
            }
        }
    }

    /// Makes the ssh process end, and waits until it has hung up.
    pub(super) async fn terminate(mut self) -> Result<(), MuxError> {
        self.send(TERMINATE, &[&REQUEST.to_be_bytes()]).await?;
        loop {
            match self.receive().await {
                Ok(answer) if matches!(answer.kind, PERMISSION_DENIED | FAILURE) => {
                    return Err(MuxError::Refused {
                        reason: "it does not end".into(),
                    });
                }
                Ok(_) => {}
                // It may be gone before it has answered.
                Err(MuxError::Socket(_)) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until the ssh process has gone.
    pub(super) async fn gone(mut self) {
        while self.receive().await.is_ok() {}
    }

    async fn send(&mut self, kind: u32, body: &[&[u8]]) -> Result<(), MuxError> {
        let body = body.concat();
        let length = u32::try_from(4 + body.len()).map_err(|_| MuxError::Packet {
            expected: "a command of less than 4 GiB",
        })?;
        let packet = [&length.to_be_bytes(), &kind.to_be_bytes(), &*body].concat();
        self.stream
            .write_all(&packet)
            .await
            .map_err(MuxError::Socket)
    }

    /// Sends one byte with a descriptor.
    async fn hand_over(&self, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        let send = || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let descriptors = [descriptor];
            if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            let byte = [IoSlice::new(&[0])];
            let socket = self.stream.as_fd();
            Ok(sendmsg(socket, &byte, &mut control, SendFlags::NOSIGNAL)?)
        };
        self.stream.async_io(Interest::WRITABLE, send).await?;
        Ok(())
    }

    async fn receive(&mut self) -> Result<Packet, MuxError> {
        let length = self.stream.read_u32().await.map_err(MuxError::Socket)?;
        let body_length = usize::try_from(length).ok().and_then(|n| n.checked_sub(4));
        let Some(body_length) = body_length.filter(|length| *length <= LONGEST_PACKET) else {
            return Err(MuxError::Packet {
                expected: "a length of 4 to 256 KiB",
            });
        };
        let kind = self.stream.read_u32().await.map_err(MuxError::Socket)?;
        let mut body = vec![0; body_length];
        let read = self.stream.read_exact(&mut body).await;
        read.map_err(MuxError::Socket)?;
        Ok(Packet { kind, body, at: 0 })
    }
}

/// A session that the other host has agreed to. Its drop ends it.
#[derive(Debug)]
pub(super) struct Opened {
    mux: Mux,
}

impl Opened {
    /// Waits until the session is over, and passes on its status as soon as it
    /// is known. The two are apart: a program's last output is still on its way
    /// when its status comes, and would be cut off with the session.
    pub(super) async fn wait(mut self, mut status: impl FnMut(u32)) {
        while let Ok(mut packet) = self.mux.receive().await {
            if packet.kind == EXIT
                && let Some(value) = packet.word().and_then(|_session| packet.word())
            {
                status(value);
            }
        }
    }
}

#[derive(Debug)]
struct Packet {
    kind: u32,
    body: Vec<u8>,
    at: usize,
}

impl Packet {
    fn word(&mut self) -> Option<u32> {
        let (word, _) = self.body.get(self.at..)?.split_first_chunk()?;
        self.at += word.len();
        Some(u32::from_be_bytes(*word))
    }

    fn string(&mut self) -> Option<String> {
        let length = usize::try_from(self.word()?).ok()?;
        let text = self.body.get(self.at..)?.get(..length)?;
        self.at += length;
        Some(String::from_utf8_lossy(text).into_owned())
    }
}

/// A string as it stands in a packet. Its length is checked with the packet's.
fn string(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), text.as_bytes()].concat()
}
