//! `builtin:buildenv`: a tree of symbolic links to what several packages hold,
//! as a user's profile is. A directory that only one package has is one link;
//! one that several have is made, and its entries are links.

mod links;

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

use super::error::BuiltinError;
use super::log::Log;
use super::order::BuiltinOrder;
use links::Links;

/// The priority of the first package that is there only because another asks
/// for it. Whatever was asked for by name comes before.
const PROPAGATED: i64 = 1000;

/// A package of the environment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    /// Lower comes first.
    priority: i64,
    path: PathBuf,
    active: bool,
}

pub(super) fn run(order: &BuiltinOrder, log: &mut Log<'_>) -> Result<(), BuiltinError> {
    let out = order.out()?;
    let mut packages = packages(order.attribute("derivations")?)?;
    let manifest = order.attribute("manifest")?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(out)
        .map_err(BuiltinError::file("create", out))?;
    packages.sort();
    build(out, &packages, log)?;
    let link = out.join("manifest.nix");
    symlink(manifest, &link).map_err(BuiltinError::file("create", &link))
}

/// Reads `(active priority count path{count})*`.
fn packages(text: &str) -> Result<Vec<Package>, BuiltinError> {
    let bad = |expected, found: &str| BuiltinError::BadAttribute {
        attribute: "derivations",
        expected,
        found: found.to_owned(),
    };
    let mut words = text.split_ascii_whitespace();
    let mut packages = Vec::new();
    while let Some(active) = words.next() {
        let word = words.next().unwrap_or("");
        let priority = word.parse();
        let priority = priority.map_err(|_| bad("a list with priorities", word))?;
        let word = words.next().unwrap_or("");
        let count: usize = word
            .parse()
            .map_err(|_| bad("a list with numbers of outputs", word))?;
        for _ in 0..count {
            let path = words
                .next()
                .ok_or_else(|| bad("a list that is whole", ""))?;
            packages.push(Package {
                priority,
                path: PathBuf::from(path),
                active: active != "false",
            });
        }
    }
    Ok(packages)
}

fn build(out: &Path, packages: &[Package], log: &mut Log<'_>) -> Result<(), BuiltinError> {
    let mut environment = Environment {
        links: Links::new(log),
        out,
        done: BTreeSet::new(),
        wanted: BTreeSet::new(),
    };
    for package in packages.iter().filter(|package| package.active) {
        environment.add(&package.path, package.priority)?;
    }
    let mut priority = PROPAGATED;
    while !environment.wanted.is_empty() {
        for path in std::mem::take(&mut environment.wanted) {
            environment.add(&path, priority)?;
            priority += 1;
        }
    }
    Ok(())
}

struct Environment<'a, 'b> {
    links: Links<'a, 'b>,
    out: &'a Path,
    /// The packages that are in it.
    done: BTreeSet<PathBuf>,
    /// The packages that others ask for, and that are not in it yet.
    wanted: BTreeSet<PathBuf>,
}

impl Environment<'_, '_> {
    fn add(&mut self, package: &Path, priority: i64) -> Result<(), BuiltinError> {
        if !self.done.insert(package.to_owned()) {
            return Ok(());
        }
        self.links.add(package, self.out, priority)?;
        let propagated = package.join("nix-support/propagated-user-env-packages");
        let text = match fs::read_to_string(&propagated) {
            Ok(text) => text,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(());
            }
            Err(source) => return Err(BuiltinError::file("read", &propagated)(source)),
        };
        let paths = text.split([' ', '\n']).filter(|word| !word.is_empty());
        let new = paths.map(PathBuf::from);
        self.wanted
            .extend(new.filter(|path| !self.done.contains(path)));
        Ok(())
    }
}

#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    clippy::needless_pass_by_value,
    reason = "tests may panic, and write what they expect where they use it"
)]
mod tests;
