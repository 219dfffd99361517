//! How a client's Nix gets its builds to machines: through Musher, or by stock
//! remote building, which is what Musher is compared with.

use std::{net::SocketAddr, path::Path};

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::hosts::{command::User, host::Host, processes, ssh::Destination};

/// The system all test hosts have, that of this machine.
pub(crate) fn system() -> String {
    format!("{}-linux", std::env::consts::ARCH)
}

/// A way to speak to a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scheme {
    /// The worker protocol.
    SshNg,
    /// The serve protocol.
    Ssh,
}

impl Scheme {
    /// As it stands in a URL.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SshNg => "ssh-ng",
            Self::Ssh => "ssh",
        }
    }
}

/// What a machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Stock Nix.
    Nix,
    /// `/usr/bin/musher`, and no Nix.
    Musher,
}

/// A machine that the client may build on.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// Its name, which the client's ssh knows too.
    pub(crate) name: String,
    /// Where its sshd is, or a relay before it.
    pub(crate) address: SocketAddr,
    /// How to speak to it.
    pub(crate) scheme: Scheme,
    /// Who to log in as.
    pub(crate) user: User,
    /// How many builds it does at once.
    pub(crate) slots: u32,
    /// What it has.
    pub(crate) kind: Kind,
}

impl Machine {
    /// A machine at `destination`, logged in to as root by `ssh-ng`.
    pub(crate) fn new(destination: &Destination, slots: u32) -> Self {
        Self {
            name: destination.alias.clone(),
            address: destination.address,
            scheme: Scheme::SshNg,
            user: User::Root,
            slots,
            kind: Kind::Nix,
        }
    }

    fn nix_line(&self) -> String {
        let (scheme, user) = (self.scheme.name(), self.user.name());
        format!(
            "{scheme}://{user}@{} {} - {} 1 {FEATURES}",
            self.name,
            system(),
            self.slots
        )
    }

    fn musher_table(&self) -> String {
        let (scheme, user) = (self.scheme.name(), self.user.name());
        let kind = match self.kind {
            Kind::Nix => "kind = \"nix\"".to_owned(),
            Kind::Musher => format!(
                "kind = \"musher\"\n\
                 remote-program = \"/usr/bin/musher\"\n\
                 {SANDBOX_PATHS}"
            ),
        };
        format!(
            "[[machine]]\n\
             name = \"{}\"\n\
             connect = \"{scheme}://{user}@{}\"\n\
             {kind}\n\
             systems = [\"{}\"]\n\
             max-jobs = {}\n\
             supported-features = [\"{FEATURES}\"]\n\n",
            self.name,
            self.address,
            system(),
            self.slots
        )
    }
}

/// The features of all machines.
pub(crate) const FEATURES: &str = "ca-derivations";

/// What builds see of a machine of Musher's, as on those with Nix.
pub(crate) const SANDBOX_PATHS: &str = "sandbox-paths = [\"/bin\", \"/usr\", \"/lib\", \"/lib64\"]";

/// Points the client's Nix at `machines` by stock remote building.
pub(crate) fn use_stock(client: &Host, machines: &[Machine]) -> Result<()> {
    let lines: Vec<String> = machines.iter().map(Machine::nix_line).collect();
    client.write("/etc/nix/machines", lines.join("\n") + "\n")?;
    client.configure_nix(&[("builders", "@/etc/nix/machines"), ("max-jobs", "0")])?;
    client.restart_nix_daemon()
}

/// Points the client's Nix at `machines` through the `musher` at `program`,
/// which is installed and whose daemon is started afresh.
pub(crate) fn use_musher(client: &Host, program: &Path, machines: &[Machine]) -> Result<()> {
    be_the_store(client, program, machines)?;
    client
        .sh(User::Root, "musher setup --write")
        .context("cannot set Nix up for musher")?;
    client.restart_nix_daemon()
}

/// Installs the `musher` at `program` with these machines and starts its daemon
/// afresh, whose store clients can use instead of nix-daemon's. Their Nix goes on
/// as it was.
pub(crate) fn be_the_store(client: &Host, program: &Path, machines: &[Machine]) -> Result<()> {
    stop_musher(client)?;
    client.install(program, "/usr/bin/musher")?;
    let tables: String = machines.iter().map(Machine::musher_table).collect();
    client.write("/etc/musher/musher.toml", tables)?;
    client.configure_nix(&[])?;
    start_musher(client)
}

/// Starts `musher daemon` on the client.
pub(crate) fn start_musher(client: &Host) -> Result<()> {
    client.start_service("musher", &["musher", "daemon"])?;
    processes::wait_until("musher daemon listens", || {
        Ok(client.path("/run/musher/control.sock").exists())
    })
    .with_context(|| format!("musher daemon said: {}", client.service_log("musher")))
}

/// Ends the client's `musher daemon`, if one runs.
pub(crate) fn stop_musher(client: &Host) -> Result<()> {
    if client.service_runs("musher")? {
        client.end_service("musher", "TERM")?;
    }
    Ok(())
}
