//! A file with derivations as JSON, which needs no Nix. Pure; see
//! `docs/formats/derivations.md`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use nix_derivation::{Derivation, InputDerivation, InputDerivationHash, StoreDir, StorePath};
use serde_json::{Map, Value};

/// The version of the derivations in it.
const VERSION: u64 = 4;

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

impl Document {
    /// Reads the text of the file in the directory `dir`.
    pub(super) fn parse(
        text: &[u8],
        dir: &Path,
        store_dir: &StoreDir,
    ) -> Result<Self, DocumentError> {
        let value: Value = serde_json::from_slice(text).map_err(DocumentError::Json)?;
        let Value::Object(mut fields) = value else {
            return Err(DocumentError::Form);
        };
        let is_one = fields.contains_key("builder");
        let is_collection = fields.contains_key("derivations");
        let named = match (is_one, is_collection) {
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
        let mut derivations = BTreeMap::new();
        for (name, value) in named {
            let (path, derivation) = read(name.as_deref(), &value, store_dir)?;
            derivations.insert(path, derivation);
        }
        let sources = sources(fields.remove("sources"), dir)?;
        let roots = roots(fields.remove("roots"), &derivations)?;
        Ok(Self {
            derivations: in_order(derivations)?,
            sources,
            roots,
        })
    }

    /// The derivation that is called `name`, without hash and `.drv`.
    pub(super) fn called(&self, name: &str) -> Result<StorePath, DocumentError> {
        let paths = self.derivations.iter().map(|(path, _)| path);
        let found: Vec<_> = paths
            .filter(|path| path.name().strip_suffix(".drv") == Some(name))
            .collect();
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use expect_test::{Expect, expect};
    use nix_derivation::{Derivation, DerivationBuilder, InputDerivation, StoreDir, StorePath};
    use serde_json::{Value, json};

    use super::Document;

    fn parse(value: &Value) -> Result<Document, super::DocumentError> {
        let text = value.to_string();
        Document::parse(text.as_bytes(), Path::new("/dir"), &StoreDir::default())
    }

    fn lib() -> Derivation {
        let builder = DerivationBuilder::new("lib", "x86_64-linux", "/bin/sh");
        let built = builder.input_addressed_output("out").build();
        built.expect("a derivation").into_derivation()
    }

    fn app(lib: &Derivation) -> Derivation {
        let path = lib.drv_path().expect("a path");
        let builder = DerivationBuilder::new("app", "x86_64-linux", "/bin/sh");
        let hash = lib
            .hash_input_derivation_modulo(|_| [0; 32])
            .expect("a hash");
        let built = builder
            .input_addressed_output("out")
            .input_derivation(path, InputDerivation::new(["out"]))
            .build_with_input_hashes(|_| hash);
        built.expect("a derivation").into_derivation()
    }

    fn json_of(derivation: &Derivation) -> Value {
        nix_derivation::json::to_value(derivation).expect("JSON")
    }

    fn base(derivation: &Derivation) -> String {
        derivation.drv_path().expect("a path").to_basename()
    }

    fn names(paths: &[StorePath]) -> Vec<&str> {
        paths.iter().map(StorePath::name).collect()
    }

    #[track_caller]
    fn check_error(value: &Value, expected: &Expect) {
        let error = parse(value).expect_err("an error");
        expected.assert_eq(&error.to_string());
    }

    #[test]
    fn inputs_come_first_and_roots_are_what_nobody_reads() {
        let lib = lib();
        let app = app(&lib);
        let document = json!({
            "version": 4,
            "derivations": { base(&app): json_of(&app), base(&lib): json_of(&lib) },
            "sources": { format!("{}-src", "1".repeat(32)): "src/main.c" },
        });
        let document = parse(&document).expect("a document");
        let paths: Vec<_> = document
            .derivations
            .iter()
            .map(|(path, _)| path.clone())
            .collect();
        assert_eq!(names(&paths), ["lib.drv", "app.drv"]);
        assert_eq!(names(&document.roots), ["app.drv"]);
        assert_eq!(document.called("lib").expect("one").name(), "lib.drv");
        assert!(document.called("other").is_err());
        let files: Vec<_> = document.sources.values().collect();
        assert_eq!(files, [Path::new("/dir/src/main.c")]);
    }

    #[test]
    fn one_derivation_is_a_document_and_so_is_a_map() {
        let lib = lib();
        let one = parse(&json_of(&lib)).expect("a document");
        assert_eq!(names(&one.roots), ["lib.drv"]);
        let map = parse(&json!({ base(&lib): json_of(&lib) })).expect("a document");
        assert_eq!(map.roots, one.roots);
    }

    #[test]
    fn roots_can_be_named() {
        let lib = lib();
        let app = app(&lib);
        let document = json!({
            "derivations": { base(&app): json_of(&app), base(&lib): json_of(&lib) },
            "roots": [base(&lib), base(&app)],
        });
        let document = parse(&document).expect("a document");
        assert_eq!(names(&document.roots), ["lib.drv", "app.drv"]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let lib = lib();
        let mut changed = json_of(&lib);
        changed["args"] = json!(["--more"]);
        check_error(
            &json!({ "derivations": { base(&lib): changed } }),
            &expect![
                "the derivation called `8bp438xrzjjnsnsmmk9isj1w27sdry9x-lib.drv` is really `7il8j8m4f2pbrvqayygcgrax3a424npr-lib.drv`"
            ],
        );
        check_error(
            &json!({ "derivations": {}, "version": 3 }),
            &expect!["it is of version 3, not 4"],
        );
        check_error(
            &json!([]),
            &expect!["it is neither a derivation nor a collection of some"],
        );
        check_error(
            &json!({ "x": 1 }),
            &expect!["it is neither a derivation nor a collection of some"],
        );
        check_error(
            &json!({ "derivations": {}, "sources": 1 }),
            &expect!["`sources` is not an object"],
        );
        check_error(
            &json!({ "derivations": {}, "roots": ["x"] }),
            &expect!["`x` is not the name of a store path"],
        );
    }

    #[test]
    fn a_wrong_output_path_is_found() {
        let lib = lib();
        let mut forged = json_of(&lib);
        forged["outputs"]["out"]["path"] = json!(format!("{}-lib", "1".repeat(32)));
        check_error(
            &forged,
            &expect!["cannot read the derivation `11hqnwn150z01cnwxb6a12pzrvscy6cl-lib.drv`"],
        );
    }
}
