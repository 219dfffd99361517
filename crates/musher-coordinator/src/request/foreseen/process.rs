//! The process of a client, and when it has ended.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use musher_api::coordinator as api;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::net::unix::pipe::Receiver;

/// A process on this host, told from all others there ever were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClientProcess {
    pid: u32,
    start_time: u64,
    pid_namespace: u64,
    uid: u32,
}

impl ClientProcess {
    /// The one that a session names.
    pub(crate) fn of(message: &api::ClientProcess) -> Self {
        Self {
            pid: message.pid,
            start_time: message.start_time,
            pid_namespace: message.pid_namespace,
            uid: message.uid,
        }
    }

    /// What sees its end; none where its number does not count, or it is no more.
    pub(super) fn watch(self) -> Option<Watched> {
        let own = fs::metadata("/proc/self/ns/pid").ok()?.ino();
        let pid = Pid::from_raw(i32::try_from(self.pid).ok()?)?;
        if own != self.pid_namespace {
            return None;
        }
        let process = pidfd_open(pid, PidfdFlags::NONBLOCK).ok()?;
        // Of this very process, or it would have been another's by now.
        let stat = fs::read(Path::new("/proc").join(self.pid.to_string()).join("stat")).ok()?;
        let is_same = start_time(&String::from_utf8_lossy(&stat)) == Some(self.start_time);
        // Nothing is ever read: like the end of a pipe it tells when it could be.
        let process = Receiver::from_owned_fd_unchecked(process).ok()?;
        is_same.then_some(Watched(process))
    }
}

/// A process that is waited for.
#[derive(Debug)]
pub(super) struct Watched(Receiver);

impl Watched {
    /// Waits until it has ended.
    pub(super) async fn ended(&self) {
        // An error means that nobody will say so.
        if self.0.readable().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The 22nd field of what the kernel says of a process; the second, its name,
/// may hold anything.
fn start_time(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
impl ClientProcess {
    /// The one that has this number now.
    pub(super) fn running(pid: u32) -> Self {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
        Self {
            pid,
            start_time: start_time(&stat).expect("a number"),
            pid_namespace: fs::metadata("/proc/self/ns/pid").expect("one").ino(),
            uid: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[tokio::test]
    async fn the_end_of_a_process_is_seen() {
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .spawn()
            .expect("it starts");
        let process = ClientProcess::running(child.id());
        let watched = process.watch().expect("it runs");
        let moment = std::time::Duration::from_millis(1);
        let ended = tokio::time::timeout(moment, watched.ended()).await;
        assert!(ended.is_err(), "it runs still");
        drop(child.stdin.take());
        watched.ended().await;
        child.wait().expect("its end");
        assert!(process.watch().is_none(), "it has ended");
    }

    #[tokio::test]
    async fn another_process_of_that_number_is_another() {
        let process = ClientProcess::running(std::process::id());
        assert!(process.watch().is_some());
        let start_time = process.start_time + 1;
        assert!(
            ClientProcess {
                start_time,
                ..process
            }
            .watch()
            .is_none()
        );
        let pid_namespace = process.pid_namespace + 1;
        assert!(
            ClientProcess {
                pid_namespace,
                ..process
            }
            .watch()
            .is_none()
        );
    }
}
