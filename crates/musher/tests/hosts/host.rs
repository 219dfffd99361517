//! A host to connect to: sshd on a loopback port, stock Nix, and a store.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;

/// The longest that a command may take here.
pub(crate) const BOUND: Duration = Duration::from_secs(60);

/// A configuration for a busy machine.
pub(crate) const PATIENT: &str = "connect-timeout = 40\n";

const SSHD: &str = "/usr/sbin/sshd";

/// Nix without privileges of its own and without anything to fetch from.
const NIX_CONF: &str = "build-users-group =\nsubstitute = false\nsandbox = false\n";

/// A running sshd, and a directory for everything; both go when dropped.
pub(crate) struct Host {
    dir: TempDir,
    port: u16,
    sshd: Child,
}

/// How a command ended, and what it said.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Host {
    /// Starts one, or says why the test is skipped.
    #[expect(clippy::print_stderr, reason = "a skipped test has to be seen")]
    pub(crate) fn start() -> Option<Self> {
        if let Some(reason) = missing() {
            let is_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
            assert!(!is_ci, "{reason}");
            eprintln!("skipped: {reason}");
            return None;
        }
        // Nix refuses stores below a directory that everyone can write to.
        let dir = tempfile::Builder::new()
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .expect("a directory");
        fs::create_dir_all("/run/sshd").expect("sshd's own directory");
        for key in ["host", "client", "other"] {
            make_key(&dir.path().join(key));
        }
        let authorized = dir.path().join("authorized_keys");
        fs::copy(dir.path().join("client.pub"), authorized).expect("authorized_keys");
        for (name, conf) in [
            ("plain", NIX_CONF.to_owned()),
            (
                "shell",
                format!("{NIX_CONF}sandbox-paths = {}\n", shell_paths()),
            ),
        ] {
            let conf_dir = dir.path().join(name);
            fs::create_dir(&conf_dir).expect("a directory");
            fs::write(conf_dir.join("nix.conf"), conf).expect("nix.conf");
        }
        // Another test's server may take the port first.
        let started = (0..5).find_map(|_| try_start(dir.path()));
        let (sshd, port) = started.expect("sshd starts");
        Some(Self { dir, port, sshd })
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// `root@127.0.0.1:PORT` with the right key and host key.
    pub(crate) fn authority(&self) -> String {
        format!(
            "root@127.0.0.1:{}?ssh-key={}&base64-ssh-public-host-key={}",
            self.port,
            self.file("client").display(),
            self.host_key()
        )
    }

    fn host_key(&self) -> String {
        let mut base64 = Command::new("base64");
        let output = base64.arg("-w0").arg(self.file("host.pub")).output();
        String::from_utf8(output.expect("base64 runs").stdout).expect("base64")
    }

    /// A store URL with Nix's `program` at the other end, configured by the
    /// directory `conf`, and its store in the directory `store`.
    pub(crate) fn url(&self, scheme: &str, program: &str, conf: &str, store: &str) -> String {
        format!(
            "{scheme}://{}&remote-program=env%20NIX_CONF_DIR={}%20{program}&remote-store={}",
            self.authority(),
            self.file(conf).display(),
            self.file(store).display()
        )
    }

    /// The store `remote` by the worker protocol.
    pub(crate) fn worker(&self) -> String {
        self.url("ssh-ng", "nix-daemon", "plain", "remote")
    }

    /// The store `remote` by the serve protocol.
    pub(crate) fn serve(&self) -> String {
        self.url("ssh", "nix-store", "plain", "remote")
    }

    /// The store `local` on this host.
    pub(crate) fn local(&self) -> String {
        self.file("local").display().to_string()
    }

    /// `musher`, with nothing of this machine's configuration.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.prepared(env!("CARGO_BIN_EXE_musher"), args)
    }

    fn prepared(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(args)
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("HOME", self.path())
            .env("TMPDIR", self.path().join("tmp"))
            .env("NIX_CONF_DIR", self.file("plain"))
            .env(
                "NIX_SSHOPTS",
                "-F none -o IdentitiesOnly=yes -o IdentityAgent=none",
            )
            .stdin(Stdio::null());
        fs::create_dir_all(self.path().join("tmp")).expect("a directory");
        command
    }

    /// Runs `musher` to its end, and sees that it left nothing behind.
    #[track_caller]
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, &[])
    }

    /// The same with more, or other, variables.
    #[track_caller]
    pub(crate) fn run_with(&self, args: &[&str], variables: &[(&str, &str)]) -> Ran {
        let config = self.file("musher.toml");
        let config = config.to_str().expect("a path of text");
        let run = self.file("run");
        let run = run.to_str().expect("a path of text");
        if !Path::new(config).exists() {
            fs::write(config, PATIENT).expect("a configuration");
        }
        let mut all = vec!["--config", config, "--run", run];
        all.extend(args);
        let mut command = self.command(&all);
        command.envs(variables.iter().copied());
        let ran = finish(command);
        self.assert_tidy();
        ran
    }

    /// Sees that no ssh and no directory of sockets is left.
    #[track_caller]
    pub(crate) fn assert_tidy(&self) {
        let left = fs::read_dir(self.path().join("tmp")).expect("a directory");
        assert_eq!(left.count(), 0, "something is left in TMPDIR");
    }

    /// Runs one of Nix's programs on the store `local`.
    #[track_caller]
    pub(crate) fn nix(&self, program: &str, args: &[&str]) -> String {
        let local = self.local();
        let mut all = vec!["--store", &local];
        all.extend(args);
        let ran = finish(self.prepared(program, &all));
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        ran.stdout.trim().to_owned()
    }

    /// Adds a file to the store `local`.
    pub(crate) fn add(&self, name: &str, content: &[u8]) -> String {
        let file = self.file(name);
        fs::write(&file, content).expect("written");
        self.nix(
            "nix-store",
            &["--add", file.to_str().expect("a path of text")],
        )
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.sshd.kill().expect("sshd is ours to end");
        self.sshd.wait().expect("sshd's end");
    }
}

/// Runs a command to its end, for at most [`BOUND`].
#[track_caller]
fn finish(mut command: Command) -> Ran {
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    let output: Output = receiver
        .recv_timeout(BOUND)
        .expect("it ends in time")
        .expect("its output");
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn missing() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("sshd needs root");
    }
    if !Path::new(SSHD).exists() {
        return Some("openssh-server is not installed");
    }
    let nix = Command::new("nix-daemon").arg("--version").output();
    nix.is_err().then_some("nix-bin is not installed")
}

/// `/bin/sh` and what it is linked with, for a sandbox.
fn shell_paths() -> String {
    let output = Command::new("ldd").arg("/bin/sh").output();
    let output = output.expect("ldd runs").stdout;
    let text = String::from_utf8_lossy(&output).into_owned();
    let libraries = text.split_whitespace().filter(|word| word.starts_with('/'));
    let mut paths = vec!["/bin/sh"];
    paths.extend(libraries);
    paths.join(" ")
}

fn make_key(path: &Path) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"])
        .arg(path)
        .status()
        .expect("ssh-keygen runs");
    assert!(made.success());
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("its number").port()
}

fn try_start(dir: &Path) -> Option<(Child, u16)> {
    let port = free_port();
    let conf = dir.join("sshd_config");
    let lines = format!(
        "ListenAddress 127.0.0.1:{port}\n\
         HostKey {dir}/host\n\
         AuthorizedKeysFile {dir}/authorized_keys {dir}/home/.ssh/authorized_keys\n\
         SetEnv HOME={dir}/home PATH={dir}/bin:{path}\n\
         PidFile none\n\
         StrictModes no\n\
         UsePAM no\n\
         PermitRootLogin yes\n\
         PasswordAuthentication no\n\
         KbdInteractiveAuthentication no\n",
        dir = dir.display(),
        path = std::env::var("PATH").expect("a path")
    );
    // Newer servers lock out an address after a few failures.
    fs::write(&conf, format!("{lines}PerSourcePenalties no\n")).expect("sshd_config");
    let mut check = Command::new(SSHD);
    check.args(["-t", "-f"]).arg(&conf).stderr(Stdio::null());
    if !check.status().expect("sshd runs").success() {
        fs::write(&conf, lines).expect("sshd_config");
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

/// Reads sshd's messages until it listens, and keeps reading behind.
fn wait_until_listening(stderr: ChildStderr) -> bool {
    let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
    let listens = lines.any(|line| line.starts_with("Server listening"));
    std::thread::spawn(move || lines.for_each(drop));
    listens
}
