//! One test host: a Debian with a Nix store, nix-daemon and sshd of its own.
//! Knows how to start and end it; what runs on it is its caller's business.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{self, Child, ChildStdin, Command, Stdio},
};

use anyhow::{Context, Result, bail};

use super::{
    base::{self, Base, Equipment},
    command::User,
    init::READY,
    network::Cable,
    processes,
    room::Room,
    ssh::{self, HostKey},
    suite::Suite,
};

/// What a host is to be like.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    /// Its name, also its `hostname`.
    pub(crate) name: String,
    /// The Debian it runs, and so its Nix.
    pub(crate) suite: Suite,
    /// Lines of nix.conf beyond, or instead of, those every host has.
    pub(crate) settings: Vec<(&'static str, String)>,
    /// What it has.
    pub(crate) equipment: Equipment,
    /// Whether it has a network of its own, on which it can be unreachable,
    /// or a port on the loopback.
    pub(crate) is_networked: bool,
    /// Whether it has a disk of its own, on which nothing was deleted before.
    pub(crate) has_disk: bool,
}

impl Spec {
    /// A host called `name`, where only root is a trusted user.
    pub(crate) fn new(name: impl Into<String>, suite: Suite) -> Self {
        Self {
            name: name.into(),
            suite,
            settings: Vec::new(),
            equipment: Equipment::Nix,
            is_networked: false,
            has_disk: false,
        }
    }

    /// The same with one more line in nix.conf.
    #[must_use]
    pub(crate) fn with(mut self, setting: &'static str, value: impl Into<String>) -> Self {
        self.settings.push((setting, value.into()));
        self
    }

    /// The same without Nix.
    #[must_use]
    pub(crate) fn bare(mut self) -> Self {
        self.equipment = Equipment::Bare;
        self
    }

    /// The same with a network of its own.
    #[must_use]
    pub(crate) fn networked(mut self) -> Self {
        self.is_networked = true;
        self
    }

    /// The same with a disk of its own.
    #[must_use]
    pub(crate) fn with_disk(mut self) -> Self {
        self.has_disk = true;
        self
    }
}

/// A running host. Dropping it ends every process in it and removes its files.
pub(crate) struct Host {
    spec: Spec,
    ssh_address: SocketAddr,
    host_key: HostKey,
    unshare: Child,
    // Init ends when this closes, should this process be killed.
    _stdin: Option<ChildStdin>,
    // As this machine numbers it.
    init: u32,
    _room: Room,
    _base: Base,
}

impl Host {
    /// Starts a host with sshd running, and nix-daemon where there is Nix.
    pub(crate) fn start(spec: Spec) -> Result<Self> {
        let name = spec.name.clone();
        Self::boot(spec).with_context(|| format!("cannot start the host `{name}`"))
    }

    fn boot(spec: Spec) -> Result<Self> {
        let base = base::prepare(spec.suite, spec.equipment)?;
        let room = Room::make(&spec.name, spec.has_disk)?;
        for directory in ["upper/etc/nix", "upper/etc/ssh", "work", "root", "nix"] {
            fs::create_dir_all(room.path().join(directory)).context("cannot furnish the room")?;
        }
        let etc = room.path().join("upper/etc");
        let host_key = HostKey::make(&etc.join("ssh/ssh_host_ed25519_key"))?;
        for (file, text) in [
            ("nix/nix.conf", nix_conf(&spec.settings, &[])),
            ("hosts", format!("127.0.0.1 localhost {}\n", spec.name)),
            ("hostname", format!("{}\n", spec.name)),
        ] {
            fs::write(etc.join(file), text).with_context(|| format!("cannot write `{file}`"))?;
        }
        let (unshare, stdin) = start_init(&base, &room, &spec)?;
        let mut host = Self {
            init: unshare.id(),
            spec,
            ssh_address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            host_key,
            unshare,
            _stdin: stdin,
            _room: room,
            _base: base,
        };
        host.await_init()?;
        host.ssh_address = host.choose_address()?;
        host.write("/etc/ssh/sshd_config", ssh::daemon_config(host.ssh_address))?;
        if host.has_nix() {
            host.start_service("nix-daemon", &["nix-daemon"])?;
        }
        host.start_service("sshd", &["/usr/sbin/sshd", "-D", "-e"])?;
        host.await_services()?;
        Ok(host)
    }

    fn await_init(&mut self) -> Result<()> {
        let stdout = self.unshare.stdout.take().context("init has no stdout")?;
        let mut line = String::new();
        BufReader::new(stdout)
            .read_line(&mut line)
            .context("cannot hear from init")?;
        if line.trim_end() != READY {
            let ended = self.unshare.wait().context("cannot wait for init")?;
            bail!("init ended with {ended}");
        }
        self.init = processes::only_child(self.unshare.id())?;
        Ok(())
    }

    fn choose_address(&self) -> Result<SocketAddr> {
        if self.spec.is_networked {
            let cable = Cable::lay(self.init)?;
            self.plug_in(cable)?;
            Ok(SocketAddr::new(cable.host_address(), 22))
        } else {
            free_loopback_port()
        }
    }

    fn await_services(&self) -> Result<()> {
        processes::wait_until("nix-daemon and sshd listen", || {
            let nix = !self.has_nix() || self.nix_daemon_listens();
            Ok(nix && ssh::greets(self.ssh_address()))
        })
        .with_context(|| {
            let logs = ["nix-daemon", "sshd"]
                .map(|name| self.service_log(name))
                .concat();
            format!(
                "the services of `{}` are not up; they said: {logs}",
                self.name()
            )
        })
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.spec.name
    }

    /// The Debian it runs.
    pub(crate) fn suite(&self) -> Suite {
        self.spec.suite
    }

    /// Where its sshd listens.
    pub(crate) fn ssh_address(&self) -> SocketAddr {
        self.ssh_address
    }

    /// What its sshd proves itself with.
    pub(crate) fn host_key(&self) -> &HostKey {
        &self.host_key
    }

    fn has_nix(&self) -> bool {
        self.spec.equipment == Equipment::Nix
    }

    /// Whether its network is not that of this machine.
    pub(super) fn is_networked(&self) -> bool {
        self.spec.is_networked
    }

    /// The process id of its init on this machine.
    pub(super) fn init(&self) -> u32 {
        self.init
    }

    /// A file of the host as this machine reaches it. `inside` is absolute.
    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        Path::new("/proc")
            .join(self.init.to_string())
            .join("root")
            .join(inside.trim_start_matches('/'))
    }

    /// Writes a file of the host, making the directories above it.
    pub(crate) fn write(&self, inside: &str, content: impl AsRef<[u8]>) -> Result<()> {
        let path = self.path(inside);
        let directory = path.parent().context("a file has a directory")?;
        fs::create_dir_all(directory)
            .and_then(|()| fs::write(&path, content))
            .with_context(|| format!("cannot write `{inside}` on `{}`", self.name()))
    }

    /// Reads a text file of the host.
    pub(crate) fn read(&self, inside: &str) -> Result<String> {
        fs::read_to_string(self.path(inside))
            .with_context(|| format!("cannot read `{inside}` on `{}`", self.name()))
    }

    /// Writes nix.conf anew, with `more` settings than the host started with.
    /// nix-daemon reads it when it is started again.
    pub(crate) fn configure_nix(&self, more: &[(&str, &str)]) -> Result<()> {
        self.write("/etc/nix/nix.conf", nix_conf(&self.spec.settings, more))
    }

    /// Copies a program of this machine to the host, where an older one may run.
    pub(crate) fn install(&self, program: &Path, inside: &str) -> Result<()> {
        // If there is none, or it stays, copying tells.
        let _ = fs::remove_file(self.path(inside));
        fs::copy(program, self.path(inside))
            .map(drop)
            .with_context(|| {
                format!(
                    "cannot copy `{}` to `{inside}` on `{}`",
                    program.display(),
                    self.name()
                )
            })
    }

    /// Lets `key` log in as root, and as the others.
    pub(crate) fn authorize(&self, key: &ssh::ClientKey) -> Result<()> {
        for user in [User::Root, User::Build, User::Alice] {
            let home = user.home();
            let file = format!("{home}/.ssh/authorized_keys");
            self.write(&file, key.public())?;
            crate::run::output(self.command(User::Root, "chown").args([
                "-R",
                user.name(),
                &format!("{home}/.ssh"),
            ]))?;
        }
        Ok(())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // With the first process of a pid namespace the kernel ends all of it
        // before the wait returns; the mounts go with the last of them.
        if self.init != self.unshare.id() {
            processes::kill(self.init);
        }
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
    }
}

fn start_init(base: &Base, room: &Room, spec: &Spec) -> Result<(Child, Option<ChildStdin>)> {
    // By its process, since cargo may have replaced the file meanwhile.
    let this_program = format!("/proc/{}/exe", process::id());
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "--propagation",
        "private",
        "--uts",
        "--pid",
        "--fork",
        "--kill-child",
    ]);
    if spec.is_networked {
        command.arg("--net");
    }
    let bare = (spec.equipment == Equipment::Bare).then_some("--bare");
    let mut unshare = command
        .arg("--")
        .arg(this_program)
        .args(["host-init", "--name", &spec.name, "--base"])
        .arg(base.path())
        .arg("--room")
        .arg(room.path())
        .args(bare)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start `unshare`")?;
    let stdin = unshare.stdin.take();
    Ok((unshare, stdin))
}

/// Every setting once, the last word on it being the one that counts.
fn nix_conf(settings: &[(&'static str, String)], more: &[(&str, &str)]) -> String {
    let common = [
        ("build-users-group", "nixbld"),
        ("sandbox", "true"),
        ("sandbox-fallback", "false"),
        ("sandbox-paths", "/bin /usr /lib /lib64"),
        ("experimental-features", "nix-command flakes ca-derivations"),
        ("substituters", ""),
        ("builders", ""),
        ("trusted-users", "root"),
    ];
    let own = settings.iter().map(|(name, value)| (*name, value.as_str()));
    let all: BTreeMap<&str, &str> = common
        .into_iter()
        .chain(own)
        .chain(more.iter().copied())
        .collect();
    all.iter()
        .map(|(name, value)| format!("{name} = {value}\n"))
        .collect()
}

/// A loopback port nobody listens on. Someone may take it before sshd does;
/// sshd then says so and the host does not start.
fn free_loopback_port() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    listener
        .and_then(|listener| listener.local_addr())
        .context("cannot find a free port")
}
