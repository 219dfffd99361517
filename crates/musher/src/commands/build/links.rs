//! The links to what was built: they name it, and keep it from the garbage
//! collector.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use musher_api::coordinator as api;

use super::Home;
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

/// Makes the links for all outputs of `done`: `NAME`, and for further targets
/// and outputs `NAME-1`, `NAME-dev`, as Nix calls them.
pub(super) async fn make(
    coordinator: &mut Coordinator,
    home: &Home,
    name: &Path,
    done: &api::Done,
) -> Result<Links, Failure> {
    let mut links = Links::default();
    for (suffix, path) in names(&done.roots) {
        let mut file = name.as_os_str().to_owned();
        file.push(suffix);
        let link = absolute(Path::new(&file))?;
        put(&link, &home.real_path(path)).map_err(|error| match error {
            LinkError::Make { .. } => Failure::environment(error),
            LinkError::Taken { .. } => {
                let help = "name another by `--out-link`, or none by `--no-link`";
                Failure::user(error).help(help.to_owned())
            }
        })?;
        let root = link.to_string_lossy().into_owned();
        coordinator.add_root(root).await?;
        links.0.insert(path.clone(), link);
    }
    Ok(links)
}

/// What comes after a link's name for each output.
fn names(roots: &[api::RootEnd]) -> Vec<(String, &String)> {
    let mut names = Vec::new();
    for (at, root) in roots.iter().enumerate() {
        for (output, path) in &root.outputs {
            let number = match at {
                0 => String::new(),
                at => format!("-{at}"),
            };
            let output = match output.as_str() {
                "out" => String::new(),
                output => format!("-{output}"),
            };
            names.push((number + &output, path));
        }
    }
    names
}

/// Puts a link into the place of another, or where nothing is.
fn put(link: &Path, target: &Path) -> Result<(), LinkError> {
    let failed = |source| LinkError::Make {
        link: link.to_owned(),
        source,
    };
    match fs::symlink_metadata(link) {
        Ok(metadata) if !metadata.is_symlink() => {
            return Err(LinkError::Taken {
                link: link.to_owned(),
            });
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
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
    use super::*;

    #[test]
    fn further_targets_and_outputs_have_names_of_their_own() {
        let root = |outputs: &[&str]| api::RootEnd {
            outputs: (outputs.iter())
                .map(|name| ((*name).to_owned(), format!("/store/{name}")))
                .collect(),
            ..api::RootEnd::default()
        };
        let roots = [root(&["dev", "out"]), root(&["out"]), root(&["doc"])];
        let names: Vec<_> = names(&roots).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["-dev", "", "-1", "-2-doc"]);
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
