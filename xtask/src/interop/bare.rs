//! A host without Nix as a builder: what has to be there, and whether the stores
//! that Musher filled there are Nix's own.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, ensure};

use crate::{
    dispatch::{FEATURES, SANDBOX_PATHS, system},
    hosts::{command::User, host::Host, processes},
    run, soundness,
};

/// Where its worker keeps its store, if a coordinator elsewhere drives it.
pub(super) const DRIVEN: &str = "/home/build/.local/state/musher/worker/store";

/// Where the worker of its own coordinator does.
pub(super) const OWN: &str = "/home/build/.local/state/musher/machines/here/store";

/// Its home store.
const HOME: &str = "/home/build/.local/state/musher/home";

/// What its own coordinator prints.
pub(super) const LOG: &str = "/home/build/.local/state/musher/daemon.log";

/// Makes it a machine that a coordinator elsewhere drives.
pub(crate) fn drive(host: &Host, musher: &Path) -> Result<()> {
    install(host, musher)?;
    admit(host, None)
}

/// Makes it a builder for whom stock Nix comes to.
pub(super) fn serve(host: &Host, musher: &Path, trusted: bool) -> Result<()> {
    install(host, musher)?;
    let configuration = format!(
        "{SANDBOX_PATHS}\n\n\
         [[machine]]\n\
         name = \"here\"\n\
         connect = \"local\"\n\
         systems = [\"{}\"]\n\
         max-jobs = 2\n\
         supported-features = [\"{FEATURES}\"]\n",
        system()
    );
    host.write("/home/build/.config/musher/musher.toml", configuration)?;
    host.sh(User::Root, "chown -R build:build /home/build")?;
    admit(
        host,
        Some(match trusted {
            true => "/usr/bin/musher serve --trusted",
            false => "/usr/bin/musher serve",
        }),
    )
}

fn install(host: &Host, musher: &Path) -> Result<()> {
    // It may run something of the last cell.
    end(host)?;
    host.sh(User::Root, "rm -f /usr/bin/musher")?;
    host.install(musher, "/usr/bin/musher")
}

/// Lets the client log in as `build`, perhaps for one command only.
fn admit(host: &Host, command: Option<&str>) -> Result<()> {
    const FILE: &str = "/home/build/.ssh/authorized_keys";
    let known = host.read(FILE)?;
    let key = known.find("ssh-").map_or(&*known, |at| &known[at..]);
    let options = command.map(|command| format!("command=\"{command}\",restrict "));
    host.write(FILE, options.unwrap_or_default() + key)
}

/// Ends all that Musher runs there.
fn end(host: &Host) -> Result<()> {
    let ours = || -> Result<Vec<u32>> {
        let processes = host.processes()?.into_iter();
        let ours = processes.filter(|process| process.name.contains("musher"));
        Ok(ours.map(|process| process.pid).collect())
    };
    // A session may end by itself meanwhile.
    for pid in ours()? {
        host.sh(User::Root, &format!("kill {pid} || true"))?;
    }
    processes::wait_until("Musher has ended", || Ok(ours()?.is_empty()))
}

/// Whether `newest`, a host with the newest Nix, finds the stores sound that
/// Musher filled on `host`.
pub(super) fn verify(host: &Host, newest: &Host) -> Result<()> {
    // A database that is written to cannot be copied.
    end(host)?;
    for store in [DRIVEN, OWN, HOME] {
        if host.path(store).exists() {
            verify_store(&host.path(store), newest)?;
        }
    }
    Ok(())
}

fn verify_store(store: &Path, newest: &Host) -> Result<()> {
    const COPY: &str = "/root/copy";
    newest.sh(
        User::Root,
        &format!("chmod -R u+w {COPY} || true; rm -rf {COPY}"),
    )?;
    let copy = newest.path(COPY);
    run::output(Command::new("cp").arg("-a").arg(store).arg(copy))?;
    let mut command = newest.command(User::Root, "nix-store");
    soundness::verify(command.args(["--store", COPY]))
        .with_context(|| format!("`{}` is not sound", store.display()))
}

/// Whether a client and the newest Nix say the same of every path that is in
/// the home store of `host`: `client` has to be that Nix.
pub(super) fn agree(host: &Host, client: &Host) -> Result<()> {
    let url = format!("ssh-ng://build@{}", host.name());
    let mut command = client.command(User::Root, "nix");
    let ours = run::output(command.args(["path-info", "--json", "--all", "--store", &url]))?;
    end(host)?;
    const COPY: &str = "/root/copy";
    client.sh(
        User::Root,
        &format!("chmod -R u+w {COPY} || true; rm -rf {COPY}"),
    )?;
    run::output(
        Command::new("cp")
            .arg("-a")
            .arg(host.path(HOME))
            .arg(client.path(COPY)),
    )?;
    let mut command = client.command(User::Root, "nix");
    let nixs = run::output(command.args(["path-info", "--json", "--all", "--store", COPY]))?;
    ensure!(
        ours == nixs,
        "`nix path-info` differs\nby Musher: {ours}\nby Nix: {nixs}"
    );
    Ok(())
}
