//! The tests of stores once more, beside the newest Nix: they run whatever Nix
//! is on the path, which on this machine is an old one.

use std::{
    env,
    fs::{self, DirBuilder},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{
    cargo,
    hosts::{
        base::{self, Equipment},
        suite::Suite,
    },
    run,
};

/// What the tests call.
const PROGRAMS: [&str; 3] = ["nix", "nix-store", "nix-instantiate"];

/// The tests that have Nix judge stores.
const TESTS: [&str; 6] = [
    "test",
    "--package=musher-store",
    "--lib",
    "--test=local_store",
    "--",
    "local",
];

/// Runs the tests of stores with the Nix of Debian's unstable suite.
pub(crate) fn run() -> Result<()> {
    let base = base::prepare(Suite::Sid, Equipment::Nix)?;
    let programs = programs(base.path())?;
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths([programs].into_iter().chain(env::split_paths(&path)))
        .context("`PATH` cannot be extended")?;
    run::visible(cargo::command(&TESTS).env("PATH", path))
}

/// A directory of programs that run those of `base` where we are.
fn programs(base: &Path) -> Result<PathBuf> {
    let dir = cargo::root().join("target/newest-nix");
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(&dir)
        .context("cannot make the directory for the newest Nix")?;
    let base = base.display();
    for program in PROGRAMS {
        let file = dir.join(program);
        let script = format!(
            "#!/bin/sh\n\
             exec {base}/lib64/ld-linux-x86-64.so.2 --argv0 {program} \
             --library-path {base}/usr/lib/x86_64-linux-gnu {base}/usr/bin/{program} \"$@\"\n"
        );
        fs::write(&file, script)
            .and_then(|()| fs::set_permissions(&file, fs::Permissions::from_mode(0o755)))
            .with_context(|| format!("cannot write `{}`", file.display()))?;
    }
    Ok(dir)
}
