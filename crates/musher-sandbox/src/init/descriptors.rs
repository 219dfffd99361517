//! Which descriptors there are: 0, 1 and 2 for the build program, one that is
//! closed when it starts to talk with the caller, and nothing that was inherited.

use std::fs;
use std::os::unix::net::UnixStream;

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, FdFlags};

use super::sys;

/// Takes the socket that is standard input, and puts `/dev/null` in its place.
pub(super) fn take_control() -> Result<UnixStream, Errno> {
    close_inherited()?;
    let stdin = rustix::stdio::stdin();
    let control = rustix::io::fcntl_dupfd_cloexec(stdin, 3)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::io::fcntl_setfd(rustix::stdio::stdin(), FdFlags::empty())?;
    Ok(UnixStream::from(control))
}

/// Puts `/dev/null` in place of what the build writes to, so that its readers see
/// the end of it when the build's own processes are gone. Where that fails they see
/// it a moment later.
pub(super) fn let_output_go() {
    let null = rustix::fs::open("/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
    if let Ok(null) = null {
        rustix::stdio::dup2_stdout(&null).ok();
        rustix::stdio::dup2_stderr(&null).ok();
    }
}

/// Other threads of the caller may have had descriptors open that should not be
/// inherited, but were, for a moment.
fn close_inherited() -> Result<(), Errno> {
    match sys::close_from(3) {
        Err(Errno::NOSYS) => close_listed(),
        done => done,
    }
}

/// Before Linux 5.9.
fn close_listed() -> Result<(), Errno> {
    let list = fs::read_dir("/proc/self/fd")
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let open: Vec<i32> = list
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2)
        .collect();
    for fd in open {
        sys::close(fd);
    }
    Ok(())
}
