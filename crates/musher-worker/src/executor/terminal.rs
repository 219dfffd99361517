//! The terminal that a build program's output goes to. A terminal, as in Nix,
//! and no pipe: C libraries then write each line when it is complete, so that
//! logs are live, and programs that ask find what they find in Nix.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;

/// The reading end of a terminal. Read as a pipe is: one byte after the other.
#[derive(Debug)]
pub(super) struct Terminal(pipe::Receiver);

/// The writing end, for a build program.
pub(super) type TerminalEnd = OwnedFd;

impl Terminal {
    /// A terminal that changes no byte, and its other end; that belongs to
    /// `owner`, if given, so that the build can open it again by its name.
    pub(super) fn open(owner: Option<u32>) -> io::Result<(Self, TerminalEnd)> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let end = rustix::fs::open(&name, flags, Mode::empty())?;
        if let Some(uid) = owner {
            let uid = rustix::fs::Uid::from_raw(uid);
            rustix::fs::fchown(&end, Some(uid), None)?;
        }
        rustix::fs::fchmod(&end, Mode::RUSR | Mode::WUSR)?;
        let mut modes = tcgetattr(&end)?;
        modes.make_raw();
        tcsetattr(&end, OptionalActions::Now, &modes)?;
        rustix::io::ioctl_fionbio(master.as_fd(), true)?;
        let master = pipe::Receiver::from_file_unchecked(File::from(master))?;
        Ok((Self(master), end))
    }

    /// Reads what was written; 0 once nobody can write any more. Dropping the
    /// future loses nothing.
    pub(super) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer).await {
            // How Linux says that the last writer is gone.
            Err(error) if error.raw_os_error() == Some(EIO) => Ok(0),
            result => result,
        }
    }
}

const EIO: i32 = rustix::io::Errno::IO.raw_os_error();

#[cfg(test)]
mod tests {
    use std::io::{IsTerminal, Write};

    use super::*;

    #[tokio::test]
    async fn bytes_pass_unchanged_until_the_last_writer_is_gone() {
        let (mut terminal, end) = Terminal::open(None).expect("a terminal");
        assert!(end.is_terminal());
        let mut first = File::from(end);
        let mut second = first.try_clone().expect("a second writer");
        first.write_all(b"one\n").expect("written");
        drop(first);
        second.write_all(b"two\r\n\x04").expect("written");
        drop(second);
        let mut found = Vec::new();
        let mut buffer = [0; 3];
        loop {
            match terminal.read(&mut buffer).await.expect("read") {
                0 => break,
                length => found.extend_from_slice(&buffer[..length]),
            }
        }
        assert_eq!(found, b"one\ntwo\r\n\x04");
    }
}
