//! The processes of a host, by its own numbering, and waiting for things.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::{command::User, host::Host};
use crate::run;

/// How long a host may take over what should take a moment.
const PATIENCE: Duration = Duration::from_secs(30);

/// A process of a host.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    /// Its number there.
    pub(crate) pid: u32,
    /// The program's name, as the kernel keeps it: 15 bytes at most.
    pub(crate) name: String,
    /// Its words, joined by spaces.
    pub(crate) command_line: String,
}

impl Host {
    /// Every process on the host, those of Nix's sandboxes too.
    pub(crate) fn processes(&self) -> Result<Vec<Process>> {
        let proc = self.path("/proc");
        let entries = fs::read_dir(&proc)
            .with_context(|| format!("cannot list the processes of `{}`", self.name()))?;
        let mut found = Vec::new();
        for entry in entries.flatten() {
            let Some(pid) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            // One that ended meanwhile is no longer a process of the host.
            let (Ok(name), Ok(words)) = (
                fs::read_to_string(entry.path().join("comm")),
                fs::read(entry.path().join("cmdline")),
            ) else {
                continue;
            };
            let command_line = String::from_utf8_lossy(&words).replace('\0', " ");
            found.push(Process {
                pid,
                name: name.trim_end().to_owned(),
                command_line: command_line.trim_end().to_owned(),
            });
        }
        found.sort_by_key(|process| process.pid);
        Ok(found)
    }

    /// Sends a signal (`STOP`, `INT`) to processes of the host.
    pub(crate) fn signal(&self, pids: &[u32], signal: &str) -> Result<()> {
        if pids.is_empty() {
            return Ok(());
        }
        let words = pids.iter().map(u32::to_string);
        run::output(
            self.command(User::Root, "kill")
                .arg(format!("-{signal}"))
                .args(words),
        )
        .map(drop)
        .with_context(|| format!("cannot signal processes of `{}`", self.name()))
    }

    /// Stops sshd, the listener and every session, so that the host falls silent.
    pub(crate) fn stop_sshd(&self) -> Result<()> {
        self.signal(&self.sshd()?, "STOP")
    }

    /// Lets sshd go on after [`Host::stop_sshd`].
    pub(crate) fn continue_sshd(&self) -> Result<()> {
        self.signal(&self.sshd()?, "CONT")
    }

    /// Ends every ssh session, and leaves the listener.
    pub(crate) fn end_ssh_sessions(&self) -> Result<()> {
        let listener = self.service_pid("sshd");
        let mut sessions = self.sshd()?;
        sessions.retain(|pid| Some(*pid) != listener);
        self.signal(&sessions, "KILL")
    }

    /// The most memory a process has had at once, in bytes.
    pub(crate) fn peak_memory(&self, pid: u32) -> Result<u64> {
        let status = self.read(&format!("/proc/{pid}/status"))?;
        let kib: u64 = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|value| value.trim().strip_suffix(" kB"))
            .and_then(|value| value.parse().ok())
            .with_context(|| format!("process {pid} of `{}` has no VmHWM", self.name()))?;
        Ok(kib * 1024)
    }

    fn sshd(&self) -> Result<Vec<u32>> {
        let all = self.processes()?;
        Ok(all
            .iter()
            .filter(|p| p.name.starts_with("sshd"))
            .map(|p| p.pid)
            .collect())
    }
}

/// Waits for a condition, looking every few milliseconds, and not for ever.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !holds()? {
        if Instant::now() > deadline {
            bail!("waited {} s in vain until {what}", PATIENCE.as_secs());
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Kills a process of this machine; one already gone is as well.
pub(super) fn kill(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// The one child of a process of this machine.
pub(super) fn only_child(parent: u32) -> Result<u32> {
    let wanted = format!("PPid:\t{parent}");
    for entry in fs::read_dir("/proc")
        .context("cannot list processes")?
        .flatten()
    {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        if status.lines().any(|line| line == wanted) {
            return Ok(pid);
        }
    }
    bail!("process {parent} has no child")
}
