//! From what the command line names to derivations of the home store.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix_derivation::{Derivation, StorePath};

use super::add::{Item, Wanted, add, sources};
use super::document::{Document, DocumentError, Draft, meant, short};
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
    #[error("nothing to build in `{place}`")]
    Nothing { place: String },
    #[error("there is no file `{target}`")]
    NoFile { target: String },
    #[error("`{target}` is neither a derivation nor a file with some")]
    NoTarget { target: String },
    #[error("`{path}` is not in the home store, which is below `{store_dir}`")]
    Elsewhere { path: String, store_dir: String },
    #[error("`{path}` is not valid in the home store")]
    NotValid { path: String },
}

/// A target as it is read before anybody is asked about it.
pub(super) enum Target {
    /// Derivations of a file, or the one called `name`.
    Document {
        file: PathBuf,
        draft: Draft,
        name: Option<String>,
        outputs: BTreeSet<String>,
    },
    /// A derivation by its path, or a link to it.
    Derivation {
        path: String,
        outputs: BTreeSet<String>,
    },
    /// Derivations of this machine's Nix store, which may name outputs.
    Here(Vec<String>),
}

impl Target {
    /// Reads what `target` names; has `nix` evaluate it where that is needed.
    pub(super) async fn read(target: &str) -> Result<Self, Failure> {
        let (base, outputs) = outputs(target);
        let (file, name) = match base.split_once('#') {
            Some((file, name)) => (file, Some(name)),
            None => (base, None),
        };
        if file.ends_with(".json") {
            let file = PathBuf::from(file);
            let text = read(&file).map_err(Failure::user)?;
            let draft = Draft::parse(&text).map_err(|error| unreadable(&file, error))?;
            if draft.is_empty(name.is_some()) {
                return Err(nothing(file.display()));
            }
            let name = name.map(str::to_owned);
            return Ok(Self::Document {
                file,
                draft,
                name,
                outputs,
            });
        }
        if base.ends_with(".drv") {
            let path = base.to_owned();
            return Ok(Self::Derivation { path, outputs });
        }
        match nix::flake(target).await? {
            Some(found) => Self::evaluated(target, found),
            None => Err(unknown(target)),
        }
    }

    /// Reads attributes of the Nix expression in `file`.
    pub(super) async fn expression(file: &Path, attributes: &[String]) -> Result<Self, Failure> {
        let found = nix::instantiate(file, attributes).await?;
        Self::evaluated(file.display(), found)
    }

    fn evaluated(place: impl Display, found: Vec<String>) -> Result<Self, Failure> {
        match found.is_empty() {
            true => Err(nothing(place)),
            false => Ok(Self::Here(found)),
        }
    }

    /// The derivations that it means. Whatever it brings along is in the home
    /// store then.
    pub(super) async fn find(
        self,
        context: &Context,
        coordinator: &mut Coordinator,
        home: &Home,
    ) -> Result<Vec<Wanted>, Failure> {
        match self {
            Self::Document {
                file,
                draft,
                name,
                outputs,
            } => {
                let dir = file.parent().unwrap_or(Path::new(""));
                let document = draft.read(dir, &home.store_dir);
                let document = document.map_err(|error| unreadable(&file, error))?;
                let wanted = document.wanted(name.as_deref(), &outputs);
                let wanted = wanted.map_err(|error| unreadable(&file, error))?;
                bring(coordinator, home, document).await?;
                Ok(wanted)
            }
            Self::Derivation { path, outputs } => {
                let wanted = by_path(context, coordinator, home, &path, outputs).await?;
                with_outputs(home, vec![wanted])
            }
            Self::Here(derivations) => {
                let wanted = nix::bring(context, coordinator, home, derivations).await?;
                with_outputs(home, wanted)
            }
        }
    }
}

/// The derivation at `path`, which is in the home store then.
async fn by_path(
    context: &Context,
    coordinator: &mut Coordinator,
    home: &Home,
    path: &str,
    outputs: BTreeSet<String>,
) -> Result<Wanted, Failure> {
    let drv_path = derivation(home, path)?;
    let path = home.store_dir.render_path(&drv_path);
    let valid = coordinator.valid_paths(vec![path.clone()]).await?;
    if valid.is_empty() {
        // It may lie in this machine's Nix store, where the home is another.
        if home.real_path(&path) == Path::new(&path) || !Path::new(&path).exists() {
            return Err(Failure::user(TargetError::NotValid { path }));
        }
        nix::bring(context, coordinator, home, vec![path]).await?;
    }
    Ok(Wanted { drv_path, outputs })
}

/// The same with the names of all outputs that are meant, as far as derivations
/// can be read here.
fn with_outputs(home: &Home, mut wanted: Vec<Wanted>) -> Result<Vec<Wanted>, Failure> {
    for Wanted { drv_path, outputs } in &mut wanted {
        let path = home.store_dir.render_path(drv_path);
        let Ok(text) = fs::read(home.real_path(&path)) else {
            continue;
        };
        let dir = home.store_dir.clone();
        if let Ok(derivation) = Derivation::from_aterm_bytes_in(&text, short(drv_path), dir) {
            *outputs = meant(drv_path, &derivation, outputs).map_err(|error| {
                let help = error.help();
                Failure::user(error).help(help)
            })?;
        }
    }
    Ok(wanted)
}

fn nothing(place: impl Display) -> Failure {
    let place = place.to_string();
    Failure::user(TargetError::Nothing { place })
}

/// What to say of a target that only Nix could understand, without Nix.
fn unknown(target: &str) -> Failure {
    let target = target.to_owned();
    let help = "as a flake reference it would need Nix on this host; without Nix a target is a \
                derivation, `….drv`, or a file with some, `….json`";
    let error = match Path::new(&target).exists() {
        true => TargetError::NoTarget { target },
        false => TargetError::NoFile { target },
    };
    Failure::user(error).help(help.to_owned())
}

fn unreadable(file: &Path, error: DocumentError) -> Failure {
    let help = error.help();
    Failure::user(TargetError::Document {
        file: file.to_owned(),
        source: Box::new(error),
    })
    .help(help)
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

/// Adds what a document holds.
async fn bring(
    coordinator: &mut Coordinator,
    home: &Home,
    document: Document,
) -> Result<(), Failure> {
    let mut items = sources(&document.sources, &home.store_dir).await?;
    for (path, derivation) in document.derivations {
        items.push(Item::derivation(path, &derivation)?);
    }
    add(coordinator, home, items).await
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
