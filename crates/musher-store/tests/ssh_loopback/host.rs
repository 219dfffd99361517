//! A host to connect to: sshd on a loopback port, with keys made for it.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use musher_store::ssh::{ControlDir, Link, SshError, SshOptions, SshTarget};
use musher_store::url::{Authority, HostKey};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

/// The longest that anything here may take.
pub(crate) const BOUND: Duration = Duration::from_secs(60);

const SSHD: &str = "/usr/sbin/sshd";

/// A running sshd; ended when dropped.
pub(crate) struct Host {
    dir: TempDir,
    port: u16,
    sshd: Child,
}

impl Host {
    /// Starts sshd with further lines of configuration, or says why the test is
    /// skipped.
    pub(crate) fn start(configuration: &str) -> Option<Self> {
        if let Some(reason) = missing() {
            assert!(
                std::env::var_os("CI").is_none_or(|value| value != "true"),
                "{reason}"
            );
            say(&format!("skipped: {reason}"));
            return None;
        }
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all("/run/sshd").expect("sshd's own directory");
        for key in ["host", "client", "other"] {
            make_key(&dir.path().join(key), "");
        }
        std::fs::copy(
            dir.path().join("client.pub"),
            dir.path().join("authorized_keys"),
        )
        .expect("authorized_keys");
        // Another test's server may take the port first.
        let started = (0..5).find_map(|_| Self::try_start(dir.path(), configuration));
        let (sshd, port) = started.expect("sshd starts");
        Some(Self { dir, port, sshd })
    }

    fn try_start(dir: &Path, configuration: &str) -> Option<(Child, u16)> {
        let port = free_port();
        let conf = dir.join("sshd_config");
        // With SHLVL bash takes itself for a shell within a shell, and does not
        // read the start-up file of whoever runs the tests.
        let lines = format!(
            "ListenAddress 127.0.0.1:{port}\n\
             HostKey {dir}/host\n\
             AuthorizedKeysFile {dir}/authorized_keys\n\
             PidFile none\n\
             StrictModes no\n\
             UsePAM no\n\
             PermitRootLogin yes\n\
             PasswordAuthentication no\n\
             KbdInteractiveAuthentication no\n\
             LogLevel VERBOSE\n\
             SetEnv SHLVL=2\n\
             {configuration}\n",
            dir = dir.display()
        );
        // Newer servers lock out an address after a few failures.
        std::fs::write(&conf, format!("{lines}PerSourcePenalties no\n")).expect("sshd_config");
        let checked = Command::new(SSHD)
            .args(["-t", "-f"])
            .arg(&conf)
            .stderr(Stdio::null())
            .status()
            .expect("sshd runs");
        if !checked.success() {
            std::fs::write(&conf, lines).expect("sshd_config");
        }
        let mut sshd = Command::new(SSHD)
            .args(["-D", "-e", "-f"])
            .arg(&conf)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("sshd starts");
        let stderr = sshd.stderr.take().expect("sshd's messages");
        if wait_until_listening(stderr) {
            return Some((sshd, port));
        }
        sshd.wait().expect("sshd's end");
        None
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The process id of the sshd that listens.
    pub(crate) fn pid(&self) -> u32 {
        self.sshd.id()
    }

    /// How to reach this host as it should be done.
    pub(crate) fn target(&self) -> SshTarget {
        SshTarget {
            key: Some(self.path().join("client")),
            host_key: Some(self.public_key("host")),
            ..target(self.port)
        }
    }

    /// The public half of one of the host's keys.
    pub(crate) fn public_key(&self, name: &str) -> HostKey {
        let file = self.path().join(name).with_extension("pub");
        let line = std::fs::read(file).expect("a public key");
        HostKey::from_base64(&base64(&line)).expect("a host key")
    }

    /// Where masters to this host have their sockets.
    pub(crate) fn control_path(&self) -> PathBuf {
        self.path().join("control")
    }

    /// Options that keep the configuration and the keys of whoever runs the
    /// tests out of them.
    pub(crate) async fn options(&self) -> SshOptions {
        options(&self.control_path()).await
    }

    pub(crate) async fn link(&self) -> Link {
        Link::new(self.target(), self.options().await)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.sshd.kill().expect("sshd is ours to end");
        self.sshd.wait().expect("sshd's end");
    }
}

#[expect(
    clippy::print_stderr,
    reason = "a skipped test must not look like one that passed"
)]
fn say(text: &str) {
    eprintln!("{text}");
}

fn missing() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("sshd needs root");
    }
    (!Path::new(SSHD).exists()).then_some("openssh-server is not installed")
}

/// Reads sshd's messages until it listens, and keeps reading behind.
fn wait_until_listening(stderr: ChildStderr) -> bool {
    let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
    let listens = lines.any(|line| line.starts_with("Server listening"));
    std::thread::spawn(move || lines.for_each(drop));
    listens
}

/// Makes a pair of keys at `path`.
pub(crate) fn make_key(path: &Path, passphrase: &str) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", passphrase, "-C", "test", "-f"])
        .arg(path)
        .status()
        .expect("ssh-keygen runs");
    assert!(made.success());
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("its number").port()
}

/// A target on loopback with no key of any kind.
pub(crate) fn target(port: u16) -> SshTarget {
    SshTarget {
        authority: Authority::parse(&format!("root@127.0.0.1:{port}")).expect("an authority"),
        key: None,
        host_key: None,
        compress: false,
    }
}

pub(crate) async fn options(control: &Path) -> SshOptions {
    let control = ControlDir::open(control)
        .await
        .expect("a control directory");
    SshOptions {
        connect_timeout: Duration::from_secs(20),
        ..SshOptions::new(Arc::new(control))
    }
    .with_nix_sshopts("-F none -o IdentitiesOnly=yes -o IdentityAgent=none")
    .expect("words")
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

pub(crate) fn words(command: &[&str]) -> Vec<String> {
    command.iter().copied().map(str::to_owned).collect()
}

/// Waits until every process that `find` finds has ended, for at most [`BOUND`].
pub(crate) async fn gone(what: &str, find: impl Fn() -> Vec<(i32, String)>) {
    let all = async {
        while let Some((process, _)) = find().pop() {
            ended(process).await;
        }
    };
    let all = tokio::time::timeout(BOUND, all).await;
    assert!(all.is_ok(), "still there: {what}");
}

/// Waits for the end of a process that need not be a child of ours, for at most
/// [`BOUND`].
pub(crate) async fn ended(process: i32) {
    let process = Pid::from_raw(process).expect("a process id");
    // Without one it has ended, and somebody has asked how.
    let Ok(process) = pidfd_open(process, PidfdFlags::empty()) else {
        return;
    };
    let ended = tokio::task::spawn_blocking(move || {
        let bound = Timespec::try_from(BOUND).expect("a short time");
        poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&bound))
    });
    assert_eq!(ended.await.expect("a task"), Ok(1), "it still runs");
}

/// A named pipe by which another process tells that it is so far.
pub(crate) struct Sign(PathBuf, pipe::Receiver);

impl Sign {
    pub(crate) fn new(path: PathBuf) -> Self {
        mkfifoat(CWD, &path, Mode::RWXU).expect("a named pipe");
        // For writing too: without a writer it would be at its end.
        let open = pipe::OpenOptions::new()
            .read_write(true)
            .open_receiver(&path);
        Self(path, open.expect("opened"))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Waits until something was written to it, for at most [`BOUND`].
    pub(crate) async fn given(&mut self) {
        let byte = tokio::time::timeout(BOUND, self.1.read_u8()).await;
        byte.expect("in time").expect("a byte");
    }
}

/// The processes that have `text` in an argument, and their names.
pub(crate) fn processes(text: &str) -> Vec<(i32, String)> {
    let entries = std::fs::read_dir("/proc").expect("/proc");
    entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let pid = path.file_name()?.to_str()?.parse().ok()?;
            let line = std::fs::read(path.join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).into_owned();
            let program = line.split('\0').next()?.rsplit('/').next()?.to_owned();
            line.contains(text).then_some((pid, program))
        })
        .collect()
}

/// The processes of masters whose sockets are below `control`.
pub(crate) fn masters(control: &Path) -> Vec<(i32, String)> {
    processes(control.to_str().expect("a path of text"))
        .into_iter()
        .filter(|(_, program)| program == "ssh" || program == "sh")
        .collect()
}

pub(crate) fn kill(pid: i32, signal: rustix::process::Signal) {
    let pid = Pid::from_raw(pid).expect("a process id");
    rustix::process::kill_process(pid, signal).expect("a process of ours");
}

/// An error with its causes, one a line.
pub(crate) fn describe(error: &SshError) -> String {
    let mut text = error.to_string();
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        text += &format!("\n{source}");
        cause = source;
    }
    text
}
