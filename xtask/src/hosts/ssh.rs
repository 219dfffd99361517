//! ssh between hosts: keys, and the configuration of both ends.

use std::{
    fs,
    io::Read,
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};

use super::{command::User, host::Host};
use crate::run;

/// What an sshd proves itself with.
#[derive(Clone, Debug)]
pub(crate) struct HostKey {
    public: String,
}

impl HostKey {
    /// Makes a key pair at `path`.
    pub(super) fn make(path: &Path) -> Result<Self> {
        generate(path)?;
        Ok(Self {
            public: read_public(path)?,
        })
    }

    /// The public key, `TYPE BASE64`, as known_hosts wants it after the name.
    pub(crate) fn public(&self) -> &str {
        &self.public
    }
}

/// What a client proves itself with.
#[derive(Clone, Debug)]
pub(crate) struct ClientKey {
    private: String,
    public: String,
}

impl ClientKey {
    /// Makes a key pair that is nowhere on disk.
    pub(crate) fn make() -> Result<Self> {
        let directory = tempfile::tempdir().context("cannot make a directory for a key")?;
        let path = directory.path().join("key");
        generate(&path)?;
        let private = fs::read_to_string(&path).context("cannot read a key just made")?;
        Ok(Self {
            private,
            public: read_public(&path)? + "\n",
        })
    }

    /// The public key as a line of `authorized_keys`.
    pub(super) fn public(&self) -> &str {
        &self.public
    }
}

/// How a client reaches one machine by a short name.
#[derive(Clone, Debug)]
pub(crate) struct Destination {
    /// The name to give ssh.
    pub(crate) alias: String,
    /// Where that is: the machine's sshd, or a relay before it.
    pub(crate) address: SocketAddr,
    /// What will answer there.
    pub(crate) host_key: HostKey,
}

impl Host {
    /// Where this host is, by its own name and without a relay.
    pub(crate) fn destination(&self) -> Destination {
        Destination {
            alias: self.name().to_owned(),
            address: self.ssh_address(),
            host_key: self.host_key().clone(),
        }
    }

    /// Lets root on this host reach `destinations` with `key`, and nothing else
    /// by ssh. `more` is added to what ssh_config says of every one of them.
    pub(crate) fn reach(
        &self,
        destinations: &[Destination],
        key: &ClientKey,
        more: &str,
    ) -> Result<()> {
        let (mut config, mut known) = (String::new(), String::new());
        for Destination {
            alias,
            address,
            host_key,
        } in destinations
        {
            config.push_str(&format!(
                "Host {alias}\n  HostName {}\n  Port {}\n  HostKeyAlias {alias}\n",
                address.ip(),
                address.port()
            ));
            known.push_str(&format!(
                "{alias},{} {}\n",
                known_name(*address),
                host_key.public()
            ));
        }
        config.push_str(&format!(
            "Host *\n  BatchMode yes\n  StrictHostKeyChecking yes\n{more}"
        ));
        self.write("/root/.ssh/id_ed25519", &key.private)?;
        self.write("/root/.ssh/config", config)?;
        self.write("/root/.ssh/known_hosts", known)?;
        self.sh(User::Root, "chmod 700 .ssh && chmod 600 .ssh/id_ed25519")
            .map(drop)
    }
}

/// An address as known_hosts has it: the port only where it is not ssh's own.
fn known_name(address: SocketAddr) -> String {
    match address.port() {
        22 => address.ip().to_string(),
        port => format!("[{}]:{port}", address.ip()),
    }
}

/// The configuration of a host's sshd.
pub(super) fn daemon_config(address: SocketAddr) -> String {
    format!(
        "ListenAddress {address}\n\
         HostKey /etc/ssh/ssh_host_ed25519_key\n\
         PermitRootLogin prohibit-password\n\
         PasswordAuthentication no\n\
         UsePAM no\n\
         UseDNS no\n\
         MaxStartups 200:30:400\n\
         Subsystem sftp internal-sftp\n"
    )
}

/// Whether an ssh server answers at `address`.
pub(super) fn greets(address: SocketAddr) -> bool {
    let greeting = || {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        let mut start = [0; 4];
        stream.read_exact(&mut start).map(|()| start)
    };
    greeting().is_ok_and(|start| &start == b"SSH-")
}

fn generate(path: &Path) -> Result<()> {
    let mut command = Command::new("ssh-keygen");
    command
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "musher-test", "-f"])
        .arg(path);
    run::output(&mut command)
        .map(drop)
        .context("cannot make an ssh key")
}

fn read_public(path: &Path) -> Result<String> {
    let text = fs::read_to_string(path.with_extension("pub")).context("cannot read an ssh key")?;
    let words: Vec<&str> = text.split_whitespace().take(2).collect();
    Ok(words.join(" "))
}
