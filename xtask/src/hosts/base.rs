//! The root of a suite's hosts: a Debian with sshd, and mostly Nix, made once and
//! kept. Knows when one is out of date; what is in it stands in `base.sh` and
//! `bare.sh`.

use std::{
    fs::{self, File},
    io::ErrorKind,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Context, Result, bail};

use super::{room, suite::Suite};
use crate::{
    apt::{self, Tool},
    run, ui,
};

/// What a base has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Equipment {
    /// Nix, sshd, and a compiler.
    Nix,
    /// sshd, and nothing else that a machine of Musher's might want.
    Bare,
}

impl Equipment {
    fn script(self) -> &'static str {
        match self {
            Self::Nix => include_str!("base.sh"),
            Self::Bare => include_str!("bare.sh"),
        }
    }

    /// Raised whenever the script changes what it makes.
    fn recipe(self) -> u32 {
        match self {
            Self::Nix | Self::Bare => 1,
        }
    }

    /// The name of a suite's base.
    fn base(self, suite: Suite) -> String {
        match self {
            Self::Nix => suite.name().to_owned(),
            Self::Bare => format!("{}-bare", suite.name()),
        }
    }
}

/// What this machine needs so as to make and run hosts.
const TOOLS: [Tool; 5] = [
    Tool {
        program: "debootstrap",
        package: "debootstrap",
    },
    Tool {
        program: "unshare",
        package: "util-linux",
    },
    Tool {
        program: "ip",
        package: "iproute2",
    },
    Tool {
        program: "ssh-keygen",
        package: "openssh-client",
    },
    Tool {
        program: "setpriv",
        package: "util-linux",
    },
];

/// A finished base. While this value lives no other run replaces it.
pub(crate) struct Base {
    path: PathBuf,
    _lock: File,
}

impl Base {
    /// The root directory, never to be written to.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// The base of `suite`, made now if it is missing, unfinished or out of date.
pub(crate) fn prepare(suite: Suite, equipment: Equipment) -> Result<Base> {
    apt::require(&TOOLS)?;
    let root = room::root()?;
    let name = equipment.base(suite);
    let path = root.join(&name);
    let stamp = root.join(format!("{name}.stamp"));
    let lock = File::create(root.join(format!("{name}.lock")))
        .context("cannot make a base's lock file")?;
    lock.lock_shared().context("cannot lock a base")?;
    if !is_current(&stamp, equipment)? {
        lock.unlock().context("cannot unlock a base")?;
        lock.lock().context("cannot lock a base to make it")?;
        // Another run may have made it while this one waited.
        if !is_current(&stamp, equipment)? {
            make(suite, equipment, &path, &stamp)?;
        }
        lock.lock_shared().context("cannot lock a base")?;
    }
    Ok(Base { path, _lock: lock })
}

/// Prepares the bases of several suites at once, with Nix.
pub(crate) fn prepare_all(suites: &[Suite]) -> Result<()> {
    thread::scope(|scope| {
        let runs: Vec<_> = suites
            .iter()
            .map(|&suite| scope.spawn(move || prepare(suite, Equipment::Nix).map(drop)))
            .collect();
        runs.into_iter()
            .try_for_each(|run| run.join().unwrap_or_else(|_| bail!("a thread panicked")))
    })
}

fn is_current(stamp: &Path, equipment: Equipment) -> Result<bool> {
    match fs::read_to_string(stamp) {
        Ok(text) => Ok(text == stamp_text(equipment)),
        Err(source) if source.kind() == ErrorKind::NotFound => Ok(false),
        Err(source) => Err(source).with_context(|| format!("cannot read `{}`", stamp.display())),
    }
}

fn stamp_text(equipment: Equipment) -> String {
    format!("recipe {}\n", equipment.recipe())
}

fn make(suite: Suite, equipment: Equipment, path: &Path, stamp: &Path) -> Result<()> {
    let name = equipment.base(suite);
    ui::say(format!(
        "preparing the Debian base `{name}`, once, in `{}`",
        path.display()
    ));
    for stale in [stamp, path] {
        let removed = if stale.is_dir() {
            fs::remove_dir_all(stale)
        } else {
            fs::remove_file(stale)
        };
        match removed {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                return Err(source).with_context(|| format!("cannot remove `{}`", stale.display()));
            }
            _ => {}
        }
    }
    let mut script = Command::new("unshare");
    script
        .args([
            "--mount",
            "--propagation",
            "private",
            "--pid",
            "--fork",
            "--kill-child",
            "--",
        ])
        .args([
            "sh",
            "-euc",
            equipment.script(),
            "base.sh",
            suite.name(),
            &apt::debian_mirror()?,
        ])
        .arg(path)
        .arg(apt::acquire_settings()?);
    run::output(&mut script).with_context(|| format!("cannot prepare the {name} base"))?;
    fs::write(stamp, stamp_text(equipment))
        .with_context(|| format!("cannot write `{}`", stamp.display()))
}
