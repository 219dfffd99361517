//! What cargo knows of the workspace, and running it.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::run;

/// `cargo metadata`, as much of it as the tasks read.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    pub(crate) workspace_members: Vec<String>,
    pub(crate) resolve: Resolve,
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

/// Builds the program `musher` for test hosts and returns where it is. It is
/// linked statically (`.cargo/config.toml`), so that it runs on each of them.
pub(crate) fn build_musher(profile: Profile) -> Result<PathBuf> {
    build("musher", "musher", profile)
}

/// Builds a program that only tests have, in the same way.
pub(crate) fn build_program(package: &str, program: &str) -> Result<PathBuf> {
    build(package, program, Profile::Dev)
}

fn build(package: &str, program: &str, profile: Profile) -> Result<PathBuf> {
    let (name, directory) = match profile {
        Profile::Dev => ("dev", "debug"),
        Profile::Release => ("release", "release"),
    };
    run::visible(&mut command(&[
        "build",
        "--quiet",
        "--package",
        package,
        "--bin",
        program,
        "--profile",
        name,
    ]))?;
    // TARGET-DIR/TRIPLE/PROFILE/xtask is this program.
    let own = env::current_exe().context("cannot find this program")?;
    let builds = own.ancestors().nth(2);
    let builds = builds.context("this program is not where cargo builds")?;
    Ok(builds.join(directory).join(program))
}
