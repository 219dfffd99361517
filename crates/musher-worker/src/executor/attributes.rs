//! What a derivation asks of whoever builds it, by its attributes: in the
//! environment, or among structured attributes, which then take the place of
//! the environment altogether. Checks of outputs are not read here.

use std::collections::{BTreeMap, BTreeSet};

use musher_protocol::types::BasicDerivation;
use nix_derivation::{StoreDir, StorePath, StructuredAttrs};
use serde_json::Value;

/// The environment variable that carries structured attributes.
const STRUCTURED: &str = "__json";

/// The attributes that the executor acts on.
#[derive(Debug, Clone)]
pub(crate) struct Attributes {
    /// The structured attributes, if the derivation has them.
    pub(crate) structured: Option<StructuredAttrs>,
    /// Variables whose values are given in files.
    pub(crate) pass_as_file: BTreeSet<String>,
    /// The roots of each reference graph to write down, by the name of its
    /// file, or of its structured attribute.
    pub(crate) export_references_graph: BTreeMap<String, BTreeSet<StorePath>>,
    /// Whether it asks for no sandbox.
    pub(crate) no_chroot: bool,
    /// Variables that a fixed-output build takes from the worker's environment.
    pub(crate) impure_env_vars: BTreeSet<String>,
    /// The features a machine must have.
    pub(crate) required_system_features: BTreeSet<String>,
}

/// An attribute that cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttributesError {
    /// `__json` is not a JSON object.
    #[error("cannot read the structured attributes")]
    Structured(#[source] nix_derivation::Error),
    /// A structured attribute of the wrong type.
    #[error("attribute `{name}` is not {expected}")]
    Type {
        /// The attribute.
        name: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// An attribute that is not text.
    #[error("attribute `{name}` is not UTF-8")]
    NotText {
        /// The attribute.
        name: &'static str,
    },
    /// Names and paths of `exportReferencesGraph` come in pairs.
    #[error("odd number of tokens in 'exportReferencesGraph': '{value}'")]
    OddGraph {
        /// The attribute's value.
        value: String,
    },
    /// A name that cannot be a file's.
    #[error("invalid file name '{name}' in 'exportReferencesGraph'")]
    GraphName {
        /// The name.
        name: String,
    },
    /// Something that is not below the store directory.
    #[error("path '{path}' in 'exportReferencesGraph' is not in the Nix store")]
    GraphPath {
        /// What stands there.
        path: String,
        /// Why it is not a store path.
        #[source]
        source: nix_derivation::store_path::Error,
    },
}

impl Attributes {
    /// The attributes of `derivation`, whose store is at `store_dir`.
    pub(crate) fn of(
        derivation: &BasicDerivation,
        store_dir: &StoreDir,
    ) -> Result<Self, AttributesError> {
        let structured = derivation
            .env
            .get(STRUCTURED)
            .map(|json| StructuredAttrs::from_json_bytes(json.as_slice()))
            .transpose()
            .map_err(AttributesError::Structured)?;
        let source = Source {
            env: &derivation.env,
            structured: structured.as_ref(),
        };
        Ok(Self {
            pass_as_file: match structured {
                Some(_) => BTreeSet::new(),
                None => source.strings("passAsFile")?,
            },
            export_references_graph: source.graphs(store_dir)?,
            no_chroot: source.flag("__noChroot")?,
            impure_env_vars: source.strings("impureEnvVars")?,
            required_system_features: source.strings("requiredSystemFeatures")?,
            structured,
        })
    }
}

/// Where attributes are looked up.
struct Source<'a> {
    env: &'a BTreeMap<String, Vec<u8>>,
    structured: Option<&'a StructuredAttrs>,
}

impl Source<'_> {
    fn text(&self, name: &'static str) -> Result<Option<&str>, AttributesError> {
        self.env
            .get(name)
            .map(|value| str::from_utf8(value).map_err(|_| AttributesError::NotText { name }))
            .transpose()
    }

    fn flag(&self, name: &'static str) -> Result<bool, AttributesError> {
        match self.structured {
            Some(attributes) => match attributes.get(name) {
                None => Ok(false),
                Some(value) => value.as_bool().ok_or(AttributesError::Type {
                    name,
                    expected: "a Boolean",
                }),
            },
            None => Ok(self.env.get(name).is_some_and(|value| value == b"1")),
        }
    }

    fn strings(&self, name: &'static str) -> Result<BTreeSet<String>, AttributesError> {
        let Some(attributes) = self.structured else {
            let words = words(self.text(name)?.unwrap_or_default());
            return Ok(words.map(str::to_owned).collect());
        };
        let error = || AttributesError::Type {
            name,
            expected: "a list of strings",
        };
        let Some(value) = attributes.get(name) else {
            return Ok(BTreeSet::new());
        };
        value
            .as_array()
            .ok_or_else(error)?
            .iter()
            .map(|item| item.as_str().map(str::to_owned).ok_or_else(error))
            .collect()
    }

    fn graphs(
        &self,
        store_dir: &StoreDir,
    ) -> Result<BTreeMap<String, BTreeSet<StorePath>>, AttributesError> {
        match self.structured {
            Some(attributes) => structured_graphs(attributes, store_dir),
            None => {
                let value = self.text("exportReferencesGraph")?.unwrap_or_default();
                plain_graphs(value, store_dir)
            }
        }
    }
}

/// What Nix takes for white space between words.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', '\t', '\n', '\r'])
        .filter(|word| !word.is_empty())
}

/// `(name " " path)*`
fn plain_graphs(
    value: &str,
    store_dir: &StoreDir,
) -> Result<BTreeMap<String, BTreeSet<StorePath>>, AttributesError> {
    let mut graphs = BTreeMap::new();
    let mut rest = words(value);
    while let Some(name) = rest.next() {
        let path = rest.next().ok_or_else(|| AttributesError::OddGraph {
            value: value.to_owned(),
        })?;
        if !is_file_name(name) {
            return Err(AttributesError::GraphName {
                name: name.to_owned(),
            });
        }
        let root = store_path_of(path, store_dir)?;
        graphs.insert(name.to_owned(), BTreeSet::from([root]));
    }
    Ok(graphs)
}

/// `{ name: path | [path | […]] }`; Nix ignores a value of any other type.
fn structured_graphs(
    attributes: &StructuredAttrs,
    store_dir: &StoreDir,
) -> Result<BTreeMap<String, BTreeSet<StorePath>>, AttributesError> {
    let Some(Value::Object(graphs)) = attributes.get("exportReferencesGraph") else {
        return Ok(BTreeMap::new());
    };
    graphs
        .iter()
        .map(|(name, value)| {
            let mut roots = BTreeSet::new();
            flatten(value, store_dir, &mut roots)?;
            Ok((name.clone(), roots))
        })
        .collect()
}

/// Collects every path in `value`. As deep as the JSON is, which its parser
/// bounds.
fn flatten(
    value: &Value,
    store_dir: &StoreDir,
    roots: &mut BTreeSet<StorePath>,
) -> Result<(), AttributesError> {
    if let Some(path) = value.as_str() {
        roots.insert(store_path_of(path, store_dir)?);
        Ok(())
    } else if let Some(values) = value.as_array() {
        values
            .iter()
            .try_for_each(|value| flatten(value, store_dir, roots))
    } else {
        Err(AttributesError::Type {
            name: "exportReferencesGraph",
            expected: "an object of strings and lists of strings",
        })
    }
}

/// The store path that `path` is, or is inside of.
fn store_path_of(path: &str, store_dir: &StoreDir) -> Result<StorePath, AttributesError> {
    let below = path
        .strip_prefix(store_dir.as_str())
        .and_then(|rest| rest.strip_prefix('/'));
    let object = below.map_or(path, |below| {
        let first = below.split('/').next().map_or(0, str::len);
        &path[..store_dir.as_str().len() + 1 + first]
    });
    store_dir
        .parse_path(object.as_bytes())
        .map_err(|source| AttributesError::GraphPath {
            path: path.to_owned(),
            source,
        })
}

fn is_file_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn derivation(env: &[(&str, &str)]) -> BasicDerivation {
        BasicDerivation {
            outputs: BTreeMap::new(),
            input_sources: BTreeSet::new(),
            system: "x86_64-linux".into(),
            builder: "/bin/sh".into(),
            args: Vec::new(),
            env: env
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
                .collect(),
        }
    }

    fn read(env: &[(&str, &str)]) -> Result<Attributes, String> {
        Attributes::of(&derivation(env), &StoreDir::default()).map_err(|error| error.to_string())
    }

    fn strings(list: &[&str]) -> BTreeSet<String> {
        list.iter().map(|item| (*item).to_owned()).collect()
    }

    const PATH: &str = "/nix/store/00000000000000000000000000000000-x";

    #[test]
    fn words_of_the_environment() {
        let found = read(&[
            ("passAsFile", " a\tb\n"),
            ("requiredSystemFeatures", "kvm big-parallel"),
            ("__noChroot", "1"),
            ("impureEnvVars", "http_proxy"),
            ("exportReferencesGraph", &format!("g {PATH} h {PATH}/bin/x")),
        ])
        .expect("attributes");
        assert_eq!(found.pass_as_file, strings(&["a", "b"]));
        assert_eq!(
            found.required_system_features,
            strings(&["big-parallel", "kvm"])
        );
        assert!(found.no_chroot);
        assert_eq!(found.impure_env_vars, strings(&["http_proxy"]));
        let root = StorePath::from_parts([0; 20], "x").expect("a path");
        assert_eq!(found.export_references_graph["g"], [root.clone()].into());
        assert_eq!(found.export_references_graph["h"], [root].into());
    }

    #[test]
    fn structured_attributes_take_the_environments_place() {
        let json = format!(
            r#"{{"requiredSystemFeatures":["kvm"],"__noChroot":true,
                "exportReferencesGraph":{{"g":["{PATH}",["{PATH}"]],"h":"{PATH}"}}}}"#
        );
        let found = read(&[
            ("__json", &json),
            ("passAsFile", "x"),
            ("requiredSystemFeatures", "other"),
        ])
        .expect("attributes");
        assert!(found.pass_as_file.is_empty());
        assert_eq!(found.required_system_features, strings(&["kvm"]));
        assert!(found.no_chroot);
        assert_eq!(found.export_references_graph.len(), 2);
        assert_eq!(found.export_references_graph["g"].len(), 1);
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for env in [
            ("__json", "[]"),
            ("__json", r#"{"requiredSystemFeatures":"kvm"}"#),
            ("__json", r#"{"__noChroot":"1"}"#),
            ("__json", r#"{"exportReferencesGraph":{"g":1}}"#),
            ("exportReferencesGraph", "g"),
            ("exportReferencesGraph", "../g /nix/store/x"),
            ("exportReferencesGraph", "g /tmp/x"),
        ] {
            assert!(read(&[env]).is_err(), "{env:?}");
        }
    }
}
