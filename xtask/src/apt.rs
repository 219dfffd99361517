//! What the tasks need from Debian: packages on this machine, and where this
//! machine gets them. Reads apt's configuration through apt, never its files.

use std::{
    env,
    path::Path,
    process::Command,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result, bail};

use crate::{run, ui};

/// A program and the Debian package that brings it.
pub(crate) struct Tool {
    pub(crate) program: &'static str,
    pub(crate) package: &'static str,
}

/// Installs the packages of those programs that are not there.
pub(crate) fn require(tools: &[Tool]) -> Result<()> {
    // Threads preparing hosts side by side must not both install.
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _installing = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    let missing: Vec<&str> = tools
        .iter()
        .filter(|tool| !is_installed(tool.program))
        .map(|tool| tool.package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    ui::say(format!("installing {}", missing.join(", ")));
    run::output(&mut apt_get(&["update"])).context("cannot refresh the package lists")?;
    run::output(apt_get(&["install", "--yes", "--no-install-recommends"]).args(&missing))
        .with_context(|| format!("cannot install {}", missing.join(", ")))?;
    Ok(())
}

/// The address this machine takes Debian itself from.
pub(crate) fn debian_mirror() -> Result<String> {
    if let Some(mirror) = known_mirror()? {
        return Ok(mirror);
    }
    run::output(&mut apt_get(&["update"])).context("cannot refresh the package lists")?;
    match known_mirror()? {
        Some(mirror) => Ok(mirror),
        None => bail!("none of this machine's apt sources is Debian's main archive"),
    }
}

/// apt's settings on this machine about fetching, as lines of `apt.conf`.
pub(crate) fn acquire_settings() -> Result<String> {
    const ABOUT_FETCHING: [&str; 5] = [
        "Acquire::http::",
        "Acquire::https::",
        "Acquire::Check-",
        "Acquire::Retries",
        "Acquire::ForceIPv",
    ];
    let dump = run::output(Command::new("apt-config").arg("dump"))?;
    let mut kept = String::new();
    for line in dump
        .lines()
        .filter(|line| ABOUT_FETCHING.iter().any(|p| line.starts_with(p)))
    {
        kept.push_str(line);
        kept.push('\n');
    }
    Ok(kept)
}

/// The mirror named by the package lists on disk, if there are any.
fn known_mirror() -> Result<Option<String>> {
    let targets = run::output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(LABEL)|$(REPO_URI)",
        "Created-By: Packages",
    ]))?;
    Ok(targets
        .lines()
        .find_map(|line| line.strip_prefix("Debian|"))
        .map(str::to_owned))
}

fn apt_get(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["--quiet", "--option", "DPkg::Lock::Timeout=300"])
        .args(arguments);
    command
}

fn is_installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain([Path::new("/usr/sbin").into(), Path::new("/sbin").into()])
        .any(|directory| directory.join(program).is_file())
}
