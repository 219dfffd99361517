//! The two ends of a client's byte stream. Stock Nix gives pipes, sshd a
//! socket; both are used without threads, so that a session ends at once when
//! it has to.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;

/// Where the client's bytes come from.
#[derive(Debug)]
pub enum Input {
    /// A pipe.
    Pipe(pipe::Receiver),
    /// A socket.
    Socket(UnixStream),
    /// Anything else, read by a thread.
    File(tokio::fs::File),
}

/// Where bytes for the client go.
#[derive(Debug)]
pub enum Output {
    /// A pipe.
    Pipe(pipe::Sender),
    /// A socket.
    Socket(UnixStream),
    /// Anything else, written by a thread.
    File(tokio::fs::File),
}

impl Input {
    /// What is open for reading as `fd`. Must be called within a tokio
    /// runtime.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        let kind = FileType::from_raw_mode(fstat(&fd)?.st_mode);
        Ok(if kind == FileType::Fifo {
            Self::Pipe(pipe::Receiver::from_owned_fd(fd)?)
        } else if kind == FileType::Socket {
            Self::Socket(socket(fd)?)
        } else {
            Self::File(file(fd))
        })
    }

    /// This process's standard input.
    pub fn stdin() -> io::Result<Self> {
        Self::new(io::stdin().as_fd().try_clone_to_owned()?)
    }

    /// Whether nobody holds the other end any more, whatever is left to read.
    pub(crate) fn has_hung_up(&self) -> bool {
        let fd = match self {
            Self::Pipe(pipe) => pipe.as_fd(),
            Self::Socket(socket) => socket.as_fd(),
            Self::File(_) => return false,
        };
        let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::RDHUP)];
        let now = Timespec::default();
        // What cannot be polled will be read, and fail then.
        let _ = poll(&mut fds, Some(&now));
        fds[0]
            .revents()
            .intersects(PollFlags::HUP | PollFlags::RDHUP)
    }
}

impl Output {
    /// What is open for writing as `fd`. Must be called within a tokio
    /// runtime.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        let kind = FileType::from_raw_mode(fstat(&fd)?.st_mode);
        Ok(if kind == FileType::Fifo {
            Self::Pipe(pipe::Sender::from_owned_fd(fd)?)
        } else if kind == FileType::Socket {
            Self::Socket(socket(fd)?)
        } else {
            Self::File(file(fd))
        })
    }

    /// This process's standard output.
    pub fn stdout() -> io::Result<Self> {
        Self::new(io::stdout().as_fd().try_clone_to_owned()?)
    }
}

fn socket(fd: OwnedFd) -> io::Result<UnixStream> {
    let socket = std::os::unix::net::UnixStream::from(fd);
    socket.set_nonblocking(true)?;
    UnixStream::from_std(socket)
}

fn file(fd: OwnedFd) -> tokio::fs::File {
    tokio::fs::File::from_std(std::fs::File::from(fd))
}

impl AsyncRead for Input {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Pipe(pipe) => Pin::new(pipe).poll_read(cx, buffer),
            Self::Socket(socket) => Pin::new(socket).poll_read(cx, buffer),
            Self::File(file) => Pin::new(file).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Output {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Pipe(pipe) => Pin::new(pipe).poll_write(cx, bytes),
            Self::Socket(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::File(file) => Pin::new(file).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Pipe(pipe) => Pin::new(pipe).poll_flush(cx),
            Self::Socket(socket) => Pin::new(socket).poll_flush(cx),
            Self::File(file) => Pin::new(file).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Pipe(pipe) => Pin::new(pipe).poll_shutdown(cx),
            Self::Socket(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::File(file) => Pin::new(file).poll_shutdown(cx),
        }
    }
}
