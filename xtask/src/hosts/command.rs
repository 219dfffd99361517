//! Running programs on a host, in the foreground and as services.

use std::{os::unix::net::UnixStream, process::Command};

use anyhow::{Context, Result};

use super::{host::Host, processes};
use crate::run;

/// The people of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum User {
    /// Root.
    Root,
    /// An ordinary user whom Nix does not trust.
    Alice,
    /// The user that others log in as to build.
    Build,
}

impl User {
    /// The login name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Alice => "alice",
            Self::Build => "build",
        }
    }

    /// The home directory.
    pub(crate) fn home(self) -> &'static str {
        match self {
            Self::Root => "/root",
            Self::Alice => "/home/alice",
            Self::Build => "/home/build",
        }
    }
}

impl Host {
    /// A command to run on this host as `user`, in their home, with a clean
    /// environment. The caller's child is a process that waits for it; see
    /// [`Host::signal`] for reaching the program itself.
    pub(crate) fn command(&self, user: User, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", user.home())
            .env("USER", user.name())
            .env("LC_ALL", "C.UTF-8")
            .arg(format!("--target={}", self.init()))
            .args(["--mount", "--pid", "--uts"])
            .args(self.is_networked().then_some("--net"))
            .arg("--")
            .args(["env", &format!("--chdir={}", user.home()), "--"])
            .args(["setpriv", &format!("--reuid={}", user.name())])
            .args([&format!("--regid={}", user.name()), "--init-groups", "--"])
            .arg(program);
        command
    }

    /// Runs a shell script as `user` and returns its stdout.
    pub(crate) fn sh(&self, user: User, script: &str) -> Result<String> {
        run::output(self.command(user, "sh").args(["-euc", script]))
    }

    /// Starts a program of root's that outlives this call. What it prints is
    /// kept in `/var/log/NAME.log`.
    pub(crate) fn start_service(&self, name: &str, words: &[&str]) -> Result<()> {
        let script = format!(
            "echo $$ > /run/{name}.pid && exec \"$@\" < /dev/null >> /var/log/{name}.log 2>&1"
        );
        run::output(
            self.command(User::Root, "setsid")
                .args(["--fork", "sh", "-c", &script, name])
                .args(words),
        )
        .with_context(|| format!("cannot start `{name}` on `{}`", self.name()))?;
        processes::wait_until("the service has a process", || {
            Ok(self.service_pid(name).is_some())
        })
    }

    /// The process of a service, as the host numbers it.
    pub(crate) fn service_pid(&self, name: &str) -> Option<u32> {
        self.read(&format!("/run/{name}.pid"))
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    /// Whether a service was started and has not ended.
    pub(crate) fn service_runs(&self, name: &str) -> Result<bool> {
        let pid = self.service_pid(name);
        Ok(self
            .processes()?
            .iter()
            .any(|process| Some(process.pid) == pid))
    }

    /// What a service has printed so far.
    pub(crate) fn service_log(&self, name: &str) -> String {
        self.read(&format!("/var/log/{name}.log"))
            .unwrap_or_default()
    }

    /// Ends a service by `signal` (`TERM`, `KILL`) and waits until it is gone.
    pub(crate) fn end_service(&self, name: &str, signal: &str) -> Result<()> {
        let pid = self
            .service_pid(name)
            .with_context(|| format!("`{name}` was never started on `{}`", self.name()))?;
        self.signal(&[pid], signal)?;
        processes::wait_until("the service has ended", || {
            Ok(self.processes()?.iter().all(|process| process.pid != pid))
        })
        .with_context(|| format!("`{name}` on `{}` stays after SIG{signal}", self.name()))
    }

    /// Lets nix-daemon read nix.conf again. Sessions it has go on as they were.
    pub(crate) fn restart_nix_daemon(&self) -> Result<()> {
        self.end_service("nix-daemon", "TERM")?;
        self.start_service("nix-daemon", &["nix-daemon"])?;
        processes::wait_until("nix-daemon listens", || Ok(self.nix_daemon_listens()))
    }

    /// Whether nix-daemon takes connections.
    pub(super) fn nix_daemon_listens(&self) -> bool {
        UnixStream::connect(self.path("/nix/var/nix/daemon-socket/socket")).is_ok()
    }
}
