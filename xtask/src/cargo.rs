//! What cargo knows of the workspace, and running it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::{hosts::suite::Suite, run};

/// `cargo metadata`, as much of it as the tasks read.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    pub(crate) workspace_members: Vec<String>,
    pub(crate) resolve: Resolve,
    pub(crate) target_directory: PathBuf,
    pub(crate) workspace_root: PathBuf,
}

/// A crate, of the workspace or not.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
}

/// Which crate depends on which.
#[derive(Debug, Deserialize)]
pub(crate) struct Resolve {
    pub(crate) nodes: Vec<Node>,
}

/// The dependencies of one crate.
#[derive(Debug, Deserialize)]
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) deps: Vec<Dependency>,
}

/// A dependency, and what for.
#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) pkg: String,
    pub(crate) dep_kinds: Vec<DependencyKind>,
}

/// `None` for a normal dependency, else `dev` or `build`.
#[derive(Debug, Deserialize)]
pub(crate) struct DependencyKind {
    pub(crate) kind: Option<String>,
}

/// How to compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quick to compile; what tests run.
    Dev,
    /// Quick to run; what is measured.
    Release,
}

impl Profile {
    /// The release profile where it is asked for.
    pub(crate) fn release_if(release: bool) -> Self {
        match release {
            true => Self::Release,
            false => Self::Dev,
        }
    }
}

/// `cargo`, in the workspace's root.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    command
}

/// The workspace's root.
pub(crate) fn root() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}

/// Asks cargo about the workspace.
pub(crate) fn metadata() -> Result<Metadata> {
    let text = run::output(&mut command(&[
        "metadata",
        "--format-version=1",
        "--locked",
    ]))?;
    serde_json::from_str(&text).context("cannot understand `cargo metadata`")
}

/// Builds the program `musher` for test hosts and returns where it is.
pub(crate) fn build_musher(profile: Profile) -> Result<PathBuf> {
    let (name, directory) = match profile {
        Profile::Dev => ("dev", "debug"),
        Profile::Release => ("release", "release"),
    };
    let mut build = command(&["build", "--quiet", "--package=musher", "--profile", name]);
    let mut built = metadata()?.target_directory;
    if !has_oldest_glibc()? {
        let target = format!("{}-unknown-linux-gnu", env::consts::ARCH);
        build.args(["--target", &target]);
        build.env("RUSTFLAGS", "-Ctarget-feature=+crt-static");
        built.push(target);
    }
    run::visible(&mut build)?;
    Ok(built.join(directory).join("musher"))
}

/// Whether a program linked to this machine's glibc runs on every host, which
/// it does from the oldest of their suites. Elsewhere it is linked statically,
/// which takes a compilation of everything for itself.
fn has_oldest_glibc() -> Result<bool> {
    let release = fs::read_to_string("/etc/os-release").context("cannot read `/etc/os-release`")?;
    let codename = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    Ok(codename == Some(Suite::ALL[0].name()))
}
