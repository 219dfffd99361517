//! The links to what was built: they name it, and keep it from the garbage
//! collector.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use musher_api::coordinator as api;

use super::Home;
use super::add::Wanted;
use crate::coordinator::Coordinator;
use crate::failure::Failure;
use crate::places::absolute;

/// The links that were made, by the store path that each leads to.
#[derive(Debug, Default)]
pub(super) struct Links(BTreeMap<String, PathBuf>);

#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("cannot make the link `{}`", link.display())]
    Make { link: PathBuf, source: io::Error },
    #[error("`{}` is there and is no link", link.display())]
    Taken { link: PathBuf },
}

impl Links {
    /// The link to a store path.
    pub(super) fn of(&self, path: &str) -> Option<&Path> {
        self.0.get(path).map(PathBuf::as_path)
    }
}

/// Finds out whether the links to what is `wanted` can be made. Where it is not
/// known which outputs that are it is taken to be `out`.
pub(super) fn check(name: &Path, wanted: &[Wanted]) -> Result<(), Failure> {
    let mut targets: Vec<BTreeSet<&str>> = Vec::new();
    let mut places = BTreeMap::new();
    for Wanted { drv_path, outputs } in wanted {
        let at = *places.entry(drv_path).or_insert(targets.len());
        if at == targets.len() {
            targets.push(BTreeSet::new());
        }
        match outputs.is_empty() {
            true => targets[at].extend(["out"]),
            false => targets[at].extend(outputs.iter().map(String::as_str)),
        }
    }
    for (at, outputs) in targets.iter().enumerate() {
        for output in outputs {
            let link = place(name, at, output)?;
            is_free(&link).map_err(failure)?;
            let dir = link.parent().unwrap_or(Path::new("/"));
            let found = fs::metadata(dir);
            found.map_err(|source| {
                failure(LinkError::Make {
                    link: link.clone(),
                    source,
                })
            })?;
        }
    }
    Ok(())
}

/// Makes the links for all outputs of `done`: `NAME`, and for further targets
/// and outputs `NAME-1`, `NAME-dev`, as Nix calls them. Those made until one
/// failed are among `links`.
pub(super) async fn make(
    links: &mut Links,
    coordinator: &mut Coordinator,
    home: &Home,
    name: &Path,
    done: &api::Done,
) -> Result<(), Failure> {
    for (at, root) in done.roots.iter().enumerate() {
        for (output, path) in &root.outputs {
            let link = place(name, at, output)?;
            put(&link, &home.real_path(path)).map_err(failure)?;
            let root = link.to_string_lossy().into_owned();
            coordinator.add_root(root).await?;
            links.0.insert(path.clone(), link);
        }
    }
    Ok(())
}

fn failure(error: LinkError) -> Failure {
    let help = "name another by `--out-link`, or none by `--no-link`";
    match &error {
        LinkError::Taken { .. } => Failure::user(error).help(help.to_owned()),
        LinkError::Make { source, .. } => {
            let is_users = source.kind() == io::ErrorKind::NotFound;
            Failure::of(is_users, error).help(is_users.then(|| help.to_owned()))
        }
    }
}

/// The link, absolute, to an output of target number `at`.
fn place(name: &Path, at: usize, output: &str) -> Result<PathBuf, Failure> {
    let mut file = name.as_os_str().to_owned();
    file.push(suffix(at, output));
    Ok(absolute(Path::new(&file))?)
}

/// What comes after a link's name.
fn suffix(at: usize, output: &str) -> String {
    let number = match at {
        0 => String::new(),
        at => format!("-{at}"),
    };
    let output = match output {
        "out" => String::new(),
        output => format!("-{output}"),
    };
    number + &output
}

/// Whether there is nothing, or a link, which may be replaced.
fn is_free(link: &Path) -> Result<(), LinkError> {
    let link = || link.to_owned();
    match fs::symlink_metadata(link()) {
        Ok(metadata) if metadata.is_symlink() => Ok(()),
        Ok(_) => Err(LinkError::Taken { link: link() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(LinkError::Make {
            link: link(),
            source,
        }),
    }
}

/// Puts a link into the place of another, or where nothing is.
fn put(link: &Path, target: &Path) -> Result<(), LinkError> {
    let failed = |source| LinkError::Make {
        link: link.to_owned(),
        source,
    };
    is_free(link)?;
    let mut aside = link.as_os_str().to_owned();
    aside.push(format!(".{}.tmp", std::process::id()));
    let aside = PathBuf::from(aside);
    // Of one that was stopped here.
    let _ = fs::remove_file(&aside);
    symlink(target, &aside).map_err(failed)?;
    fs::rename(&aside, link).map_err(failed)
}

#[cfg(test)]
mod tests {
    use nix_derivation::StorePath;

    use super::*;

    #[test]
    fn further_targets_and_outputs_have_names_of_their_own() {
        let outputs = [(0, "dev"), (0, "out"), (1, "out"), (2, "doc")];
        let names = outputs.map(|(at, output)| suffix(at, output));
        assert_eq!(names, ["-dev", "", "-1", "-2-doc"]);
    }

    #[test]
    fn a_file_in_the_way_is_found_beforehand() {
        let dir = tempfile::tempdir().expect("a directory");
        let wanted = |digest: u8, outputs: &[&str]| Wanted {
            drv_path: StorePath::from_parts([digest; 20], "x.drv").expect("a path"),
            outputs: outputs.iter().map(|name| (*name).to_owned()).collect(),
        };
        let name = dir.path().join("result");
        // The same target twice has its links once.
        let targets = [wanted(1, &["dev"]), wanted(1, &["out"]), wanted(2, &[])];
        check(&name, &targets).expect("free");
        for (file, is_taken) in [
            ("result-2", false),
            ("result-dev", true),
            ("result-1", true),
        ] {
            let file = dir.path().join(file);
            fs::write(&file, "mine").expect("written");
            assert_eq!(check(&name, &targets).is_err(), is_taken, "{file:?}");
            fs::remove_file(&file).expect("removed");
        }
        check(&dir.path().join("nowhere/result"), &targets).expect_err("no directory");
    }

    #[test]
    fn only_links_are_replaced() {
        let dir = tempfile::tempdir().expect("a directory");
        let link = dir.path().join("result");
        put(&link, Path::new("/a")).expect("made");
        put(&link, Path::new("/b")).expect("replaced");
        assert_eq!(fs::read_link(&link).expect("a link"), Path::new("/b"));
        let file = dir.path().join("file");
        fs::write(&file, "mine").expect("written");
        assert!(matches!(
            put(&file, Path::new("/a")),
            Err(LinkError::Taken { .. })
        ));
    }
}
