//! From what the command line names to derivations of the home store.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix_derivation::StorePath;

use super::add::{Item, Wanted, add, sources};
use super::document::{Document, DocumentError};
use super::{Home, nix};
use crate::context::Context;
use crate::coordinator::Coordinator;
use crate::failure::Failure;
use crate::places::absolute;

/// The longest document that is read, in bytes.
const LONGEST: u64 = 256 << 20;

#[derive(Debug, thiserror::Error)]
enum TargetError {
    #[error("cannot read `{}`", file.display())]
    Read { file: PathBuf, source: io::Error },
    #[error("`{}` is longer than {LONGEST} bytes", file.display())]
    TooLong { file: PathBuf },
    #[error("cannot understand `{}`", file.display())]
    Document {
        file: PathBuf,
        source: Box<DocumentError>,
    },
    #[error("`{path}` is not in the home store, which is below `{store_dir}`")]
    Elsewhere { path: String, store_dir: String },
    #[error("`{path}` is not valid in the home store")]
    NotValid { path: String },
}

/// What `target` means. Whatever it brings along is in the home store then.
pub(super) async fn find(
    context: &Context,
    coordinator: &mut Coordinator,
    home: &Home,
    target: &str,
) -> Result<Vec<Wanted>, Failure> {
    let (base, outputs) = outputs(target);
    let (file, name) = match base.split_once('#') {
        Some((file, name)) => (file, Some(name)),
        None => (base, None),
    };
    if file.ends_with(".json") {
        let mut wanted = document(coordinator, home, Path::new(file), name).await?;
        for wanted in &mut wanted {
            wanted.outputs.clone_from(&outputs);
        }
        return Ok(wanted);
    }
    if base.ends_with(".drv") {
        let drv_path = derivation(home, base)?;
        let path = home.store_dir.render_path(&drv_path);
        if coordinator
            .valid_paths(vec![path.clone()])
            .await?
            .is_empty()
        {
            // It may lie in this machine's Nix store, where the home is another.
            if home.real_path(&path) == Path::new(&path) || !Path::new(&path).exists() {
                return Err(Failure::user(TargetError::NotValid { path }));
            }
            nix::bring(context, coordinator, home, vec![path]).await?;
        }
        return Ok(vec![Wanted { drv_path, outputs }]);
    }
    let derivations = nix::flake(target).await?;
    nix::bring(context, coordinator, home, derivations).await
}

/// A target without the outputs that it names after `^`, and these; none if it
/// names them all.
pub(super) fn outputs(target: &str) -> (&str, BTreeSet<String>) {
    let Some((base, names)) = target.rsplit_once('^') else {
        return (target, BTreeSet::new());
    };
    let names = names
        .split(',')
        .filter(|name| !name.is_empty() && *name != "*");
    (base, names.map(str::to_owned).collect())
}

/// The derivation at a path: as it is called, or where it lies.
fn derivation(home: &Home, path: &str) -> Result<StorePath, Failure> {
    let given = absolute(Path::new(path))?;
    // A link leads to one as well.
    let real = fs::canonicalize(&given).unwrap_or_else(|_| given.clone());
    for place in [&given, &real] {
        let text = place.to_string_lossy();
        if let Ok(path) = home.store_dir.parse_path(text.as_bytes()) {
            return Ok(path);
        }
        let base = home
            .real_dir
            .as_ref()
            .and_then(|dir| place.strip_prefix(dir).ok())
            .and_then(|base| base.to_str());
        if let Some(Ok(path)) = base.map(|base| StorePath::from_basename(base.as_bytes())) {
            return Ok(path);
        }
    }
    let help = "derivations that lie elsewhere are built from JSON: `nix derivation show -r FILE`";
    Err(Failure::user(TargetError::Elsewhere {
        path: path.to_owned(),
        store_dir: home.store_dir.to_string(),
    })
    .help(help.to_owned()))
}

/// Adds what a document holds; the derivations wanted of it.
async fn document(
    coordinator: &mut Coordinator,
    home: &Home,
    file: &Path,
    name: Option<&str>,
) -> Result<Vec<Wanted>, Failure> {
    let text = read(file).map_err(Failure::user)?;
    let dir = file.parent().unwrap_or(Path::new(""));
    let failed = |error: DocumentError| {
        let help = error.help();
        Failure::user(TargetError::Document {
            file: file.to_owned(),
            source: Box::new(error),
        })
        .help(help)
    };
    let document = Document::parse(&text, dir, &home.store_dir).map_err(failed)?;
    let roots = match name {
        Some(name) => vec![document.called(name).map_err(failed)?],
        None => document.roots.clone(),
    };
    let mut items = sources(&document.sources, &home.store_dir).await?;
    for (path, derivation) in document.derivations {
        items.push(Item::derivation(path, &derivation)?);
    }
    add(coordinator, home, items).await?;
    let wanted = roots.into_iter().map(|drv_path| Wanted {
        drv_path,
        outputs: BTreeSet::new(),
    });
    Ok(wanted.collect())
}

fn read(file: &Path) -> Result<Vec<u8>, TargetError> {
    let failed = |source| TargetError::Read {
        file: file.to_owned(),
        source,
    };
    let length = fs::metadata(file).map_err(failed)?.len();
    if length > LONGEST {
        let file = file.to_owned();
        return Err(TargetError::TooLong { file });
    }
    fs::read(file).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::outputs;

    #[test]
    fn outputs_are_named_after_the_target() {
        let check = |target: &str, expected: &str, names: &[&str]| {
            let (base, found) = outputs(target);
            assert_eq!(base, expected);
            assert!(found.iter().map(String::as_str).eq(names.iter().copied()));
        };
        check("/store/a.drv", "/store/a.drv", &[]);
        check("/store/a.drv^out,dev", "/store/a.drv", &["dev", "out"]);
        check("a.json#b^*", "a.json#b", &[]);
    }
}
