//! A file with derivations as JSON, which needs no Nix. Pure; see
//! `docs/formats/derivations.md`.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use nix_derivation::{Derivation, InputDerivation, InputDerivationHash, StoreDir, StorePath};
use serde_json::{Map, Value};

use super::add::Wanted;

/// The version of the derivations in it.
const VERSION: u64 = 4;

/// A document as it is written: where its derivations lie depends on the store.
#[derive(Debug)]
pub(super) struct Draft {
    /// By the names they are given, if they are.
    derivations: BTreeMap<Option<String>, Value>,
    sources: Option<Value>,
    roots: Option<Value>,
}

/// What a document holds.
#[derive(Debug)]
pub(super) struct Document {
    /// The derivations by path, each after those it reads.
    pub(super) derivations: Vec<(StorePath, Derivation)>,
    /// Files that are sources of derivations, beside the document or anywhere,
    /// by the store path that each must be.
    pub(super) sources: BTreeMap<StorePath, PathBuf>,
    /// What is built unless something is chosen.
    pub(super) roots: Vec<StorePath>,
}

/// Why a file is no such document.
#[derive(Debug, thiserror::Error)]
pub(super) enum DocumentError {
    #[error("it is no JSON")]
    Json(#[source] serde_json::Error),
    #[error("it is neither a derivation nor a collection of some")]
    Form,
    #[error("`{field}` is not {expected}")]
    Field {
        field: String,
        expected: &'static str,
    },
    #[error("it is of version {found}, not {VERSION}")]
    Version { found: Value },
    #[error("`{name}` is not the name of a store path")]
    Name {
        name: String,
        source: nix_derivation::store_path::Error,
    },
    #[error("cannot read the derivation `{name}`")]
    Derivation {
        name: String,
        source: nix_derivation::Error,
    },
    #[error("the derivation called `{name}` is really `{found}`")]
    Misnamed { name: String, found: String },
    #[error("the derivations read each other in a circle, `{name}` among them")]
    Circle { name: String },
    #[error("no derivation in it is called `{name}`")]
    NotThere { name: String },
    #[error("{count} derivations in it are called `{name}`")]
    Ambiguous { name: String, count: usize },
    #[error("`{name}` has no output `{output}`")]
    NoOutput {
        name: String,
        output: String,
        /// Those it has.
        has: Vec<String>,
    },
}

impl DocumentError {
    /// Advice the user can act on, if there is any.
    pub(super) fn help(&self) -> Option<String> {
        match self {
            Self::Misnamed { .. } => Some(
                "something in it, or in what it reads, was changed after its path was made"
                    .to_owned(),
            ),
            Self::Version { .. } => {
                Some("`nix derivation show` of Nix 2.33 and later prints that version".to_owned())
            }
            Self::NoOutput { has, .. } => Some(format!("it has `{}`", has.join("`, `"))),
            Self::Json(_)
            | Self::Form
            | Self::Field { .. }
            | Self::Name { .. }
            | Self::Derivation { .. }
            | Self::Circle { .. }
            | Self::NotThere { .. }
            | Self::Ambiguous { .. } => None,
        }
    }
}

impl Draft {
    /// Reads the text of a file.
    pub(super) fn parse(text: &[u8]) -> Result<Self, DocumentError> {
        let value: Value = serde_json::from_slice(text).map_err(DocumentError::Json)?;
        let Value::Object(mut fields) = value else {
            return Err(DocumentError::Form);
        };
        let is_one = fields.contains_key("builder");
        let is_collection = fields.contains_key("derivations");
        let derivations = match (is_one, is_collection) {
            (true, _) => BTreeMap::from([(None, Value::Object(std::mem::take(&mut fields)))]),
            (false, true) => {
                version(&fields)?;
                let Some(Value::Object(map)) = fields.remove("derivations") else {
                    return Err(wrong("derivations", "an object"));
                };
                named(map)
            }
            (false, false) if fields.keys().all(|name| name.ends_with(".drv")) => {
                named(std::mem::take(&mut fields))
            }
            (false, false) => return Err(DocumentError::Form),
        };
        Ok(Self {
            derivations,
            sources: fields.remove("sources"),
            roots: fields.remove("roots"),
        })
    }

    /// Whether there is nothing in it to build, or only what must be chosen.
    pub(super) fn is_empty(&self, is_chosen: bool) -> bool {
        let no_roots = matches!(&self.roots, Some(Value::Array(roots)) if roots.is_empty());
        self.derivations.is_empty() || (no_roots && !is_chosen)
    }

    /// What it says of a store whose directory is `store_dir`, where its file
    /// is in the directory `dir`.
    pub(super) fn read(self, dir: &Path, store_dir: &StoreDir) -> Result<Document, DocumentError> {
        let mut derivations = BTreeMap::new();
        for (name, value) in self.derivations {
            let (path, derivation) = read(name.as_deref(), &value, store_dir)?;
            derivations.insert(path, derivation);
        }
        let sources = sources(self.sources, dir)?;
        let roots = roots(self.roots, &derivations)?;
        Ok(Document {
            derivations: in_order(derivations)?,
            sources,
            roots,
        })
    }
}

impl Document {
    /// What is wanted of it: the derivation called `name`, or its roots; of each
    /// these outputs, or all.
    pub(super) fn wanted(
        &self,
        name: Option<&str>,
        outputs: &BTreeSet<String>,
    ) -> Result<Vec<Wanted>, DocumentError> {
        let roots = match name {
            Some(name) => vec![self.called(name)?],
            None => self.roots.clone(),
        };
        let known: BTreeMap<_, _> = (self.derivations.iter())
            .map(|(path, derivation)| (path, derivation))
            .collect();
        let wanted = roots.into_iter().map(|drv_path| {
            let outputs = meant(&drv_path, known[&drv_path], outputs)?;
            Ok(Wanted { drv_path, outputs })
        });
        wanted.collect()
    }

    /// The derivation that is called `name`, without hash and `.drv`.
    fn called(&self, name: &str) -> Result<StorePath, DocumentError> {
        let paths = self.derivations.iter().map(|(path, _)| path);
        let found: Vec<_> = paths.filter(|path| short(path) == name).collect();
        match found[..] {
            [path] => Ok(path.clone()),
            [] => Err(DocumentError::NotThere {
                name: name.to_owned(),
            }),
            [..] => Err(DocumentError::Ambiguous {
                name: name.to_owned(),
                count: found.len(),
            }),
        }
    }
}

/// The outputs of a derivation that are meant by `outputs`: all
/// of them where none is named.
pub(super) fn meant(
    drv_path: &StorePath,
    derivation: &Derivation,
    outputs: &BTreeSet<String>,
) -> Result<BTreeSet<String>, DocumentError> {
    let has = derivation.outputs();
    match outputs.iter().find(|output| !has.contains_key(*output)) {
        Some(output) => Err(DocumentError::NoOutput {
            name: short(drv_path).to_owned(),
            output: output.clone(),
            has: has.keys().cloned().collect(),
        }),
        None if outputs.is_empty() => Ok(has.keys().cloned().collect()),
        None => Ok(outputs.clone()),
    }
}

/// A derivation's name, without `.drv`.
pub(super) fn short(drv_path: &StorePath) -> &str {
    let name = drv_path.name();
    name.strip_suffix(".drv").unwrap_or(name)
}

fn wrong(field: impl Into<String>, expected: &'static str) -> DocumentError {
    DocumentError::Field {
        field: field.into(),
        expected,
    }
}

fn version(fields: &Map<String, Value>) -> Result<(), DocumentError> {
    match fields.get("version") {
        Some(version) if version.as_u64() == Some(VERSION) => Ok(()),
        None => Ok(()),
        Some(version) => Err(DocumentError::Version {
            found: version.clone(),
        }),
    }
}

fn named(map: Map<String, Value>) -> BTreeMap<Option<String>, Value> {
    map.into_iter()
        .map(|(name, value)| (Some(name), value))
        .collect()
}

/// The base name of a store path, which may be written absolute.
fn store_path(name: &str) -> Result<StorePath, DocumentError> {
    let base = name.rsplit('/').next().unwrap_or(name);
    StorePath::from_basename(base.as_bytes()).map_err(|source| DocumentError::Name {
        name: name.to_owned(),
        source,
    })
}

/// A derivation and its path, which must be what it is called, if it is.
fn read(
    name: Option<&str>,
    value: &Value,
    store_dir: &StoreDir,
) -> Result<(StorePath, Derivation), DocumentError> {
    let called = || name.unwrap_or("it").to_owned();
    let failed = |source| DocumentError::Derivation {
        name: called(),
        source,
    };
    let text = serde_json::to_vec(value).map_err(DocumentError::Json)?;
    let derivation = Derivation::from_json_bytes_in(&text, store_dir.clone()).map_err(failed)?;
    let path = derivation.drv_path().map_err(failed)?;
    match name {
        Some(name) if store_path(name)? != path => Err(DocumentError::Misnamed {
            name: name.to_owned(),
            found: path.to_basename(),
        }),
        Some(_) | None => Ok((path, derivation)),
    }
}

fn sources(
    value: Option<Value>,
    dir: &Path,
) -> Result<BTreeMap<StorePath, PathBuf>, DocumentError> {
    let map = match value {
        None => return Ok(BTreeMap::new()),
        Some(Value::Object(map)) => map,
        Some(_) => return Err(wrong("sources", "an object")),
    };
    let sources = map.into_iter().map(|(name, file)| {
        let Value::String(file) = file else {
            return Err(wrong(format!("sources.{name}"), "the path of a file"));
        };
        Ok((store_path(&name)?, dir.join(file)))
    });
    sources.collect()
}

/// The derivations that are named as roots, or else those that no other reads.
fn roots(
    value: Option<Value>,
    derivations: &BTreeMap<StorePath, Derivation>,
) -> Result<Vec<StorePath>, DocumentError> {
    let names = match value {
        None => {
            let inputs = derivations
                .values()
                .flat_map(|drv| drv.input_derivations().keys());
            let read: BTreeSet<_> = inputs.collect();
            let roots = derivations.keys().filter(|path| !read.contains(path));
            return Ok(roots.cloned().collect());
        }
        Some(Value::Array(names)) => names,
        Some(_) => return Err(wrong("roots", "a list")),
    };
    let roots = names.into_iter().map(|name| {
        let name = name
            .as_str()
            .ok_or_else(|| wrong("roots", "a list of names"))?;
        let path = store_path(name)?;
        match derivations.contains_key(&path) {
            true => Ok(path),
            false => Err(DocumentError::NotThere {
                name: name.to_owned(),
            }),
        }
    });
    roots.collect()
}

/// Each derivation after those it reads, and checked where all of those are
/// there.
fn in_order(
    derivations: BTreeMap<StorePath, Derivation>,
) -> Result<Vec<(StorePath, Derivation)>, DocumentError> {
    let mut left = derivations;
    let mut done: BTreeMap<StorePath, Option<InputDerivationHash>> = BTreeMap::new();
    let mut order = Vec::with_capacity(left.len());
    let mut queue: VecDeque<StorePath> = left.keys().cloned().collect();
    let mut passed = 0;
    while let Some(path) = queue.pop_front() {
        let Some(derivation) = left.get(&path) else {
            continue;
        };
        let inputs = derivation.input_derivations();
        if inputs.keys().any(|input| left.contains_key(input)) {
            passed += 1;
            if passed > queue.len() {
                let name = path.to_basename();
                return Err(DocumentError::Circle { name });
            }
            queue.push_back(path);
            continue;
        }
        passed = 0;
        let hash = checked(&path, derivation, &done)?;
        done.insert(path.clone(), hash);
        if let Some(derivation) = left.remove(&path) {
            order.push((path, derivation));
        }
    }
    Ok(order)
}

/// What a derivation is as an input of others, once it was found to keep to the
/// rules; none where that cannot be known without the store.
fn checked(
    path: &StorePath,
    derivation: &Derivation,
    known: &BTreeMap<StorePath, Option<InputDerivationHash>>,
) -> Result<Option<InputDerivationHash>, DocumentError> {
    let failed = |source| DocumentError::Derivation {
        name: path.to_basename(),
        source,
    };
    let mut hashes = BTreeMap::new();
    for (input, kind) in derivation.input_derivations() {
        match known.get(input) {
            Some(Some(hash)) if !InputDerivation::is_dynamic(kind) => {
                hashes.insert(input.clone(), *hash);
            }
            Some(_) | None => return Ok(None),
        }
    }
    let hash = |input: &StorePath| hashes[input];
    derivation
        .validate_with_input_hashes(hash)
        .map_err(failed)?;
    let own = derivation
        .hash_input_derivation_modulo(hash)
        .map_err(failed)?;
    Ok(Some(own))
}
