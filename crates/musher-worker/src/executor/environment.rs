//! The environment and the files a build program starts with, as Nix makes
//! them: what every build gets, the derivation's own variables over that, and
//! over those again what only the executor can know. Decides; writes nothing.

use std::collections::BTreeMap;

use musher_protocol::types::BasicDerivation;
use nix_derivation::{HashAlgorithm, StoreDir, StructuredAttrs, hash_bytes, nixbase32};
use serde_json::Value;

use super::attributes::Attributes;
use super::kind::Kind;
use super::rewrites::Rewrites;
use super::structured;

/// A home directory that does not exist: programs that look for settings there
/// find none, and do not look in the machine's instead.
const HOME: &str = "/homeless-shelter";

/// Shells that find no `PATH` make one up.
const PATH: &str = "/path-not-set";

/// What surrounds a build.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    /// Where the store is.
    pub(crate) store_dir: &'a StoreDir,
    /// How many cores the build may use.
    pub(crate) cores: u32,
    /// The build directory, as the build program sees it.
    pub(crate) build_top: &'a str,
    /// The variables that `impureEnvVars` can ask for.
    pub(crate) impure: &'a BTreeMap<String, String>,
}

/// Reference graphs that were asked for, written down.
#[derive(Debug)]
pub(crate) enum Graphs {
    /// As files in the build directory.
    Text(BTreeMap<String, Vec<u8>>),
    /// As structured attributes.
    Json(BTreeMap<String, Value>),
}

/// What a build program starts with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Environment {
    /// Its variables.
    pub(crate) variables: BTreeMap<String, Vec<u8>>,
    /// The files in its build directory, by name.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

/// A derivation that no environment can be made of.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnvironmentError {
    /// Structured attributes that do not survive being written.
    #[error("cannot write the structured attributes")]
    Structured(#[source] nix_derivation::Error),
    /// No program can be started with such a variable.
    #[error("environment variable `{name}` {reason}")]
    Variable {
        /// The variable.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl Environment {
    /// The environment for `derivation`, with everything rewritten.
    pub(crate) fn of(
        derivation: &BasicDerivation,
        attributes: &Attributes,
        kind: Kind,
        graphs: Graphs,
        rewrites: &Rewrites,
        surroundings: Surroundings<'_>,
    ) -> Result<Self, EnvironmentError> {
        let mut made = Self {
            variables: common(surroundings),
            files: BTreeMap::new(),
        };
        let top = surroundings.build_top;
        match (&attributes.structured, graphs) {
            (Some(structured), graphs) => {
                made.add_structured(structured, derivation, graphs, top)?;
            }
            (None, graphs) => {
                made.add_plain(derivation, attributes, top);
                if let Graphs::Text(files) = graphs {
                    made.files.extend(files);
                }
            }
        }
        made.override_with(kind, attributes, surroundings);
        made.rewrite(rewrites)
    }

    fn set(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        self.variables.insert(name.to_owned(), value.into());
    }

    /// Puts `contents` in a file, and its path in the variable `name`.
    fn set_file(&mut self, name: &str, top: &str, file: String, contents: Vec<u8>) {
        self.set(name, format!("{top}/{file}"));
        self.files.insert(file, contents);
    }

    /// The derivation's variables, those of `passAsFile` in files.
    fn add_plain(&mut self, derivation: &BasicDerivation, attributes: &Attributes, top: &str) {
        for (name, value) in &derivation.env {
            if attributes.pass_as_file.contains(name) {
                let hash = hash_bytes(HashAlgorithm::Sha256, name.as_bytes());
                let file = format!(".attr-{}", nixbase32::encode(hash.digest_as_bytes()));
                self.set_file(&format!("{name}Path"), top, file, value.clone());
            } else {
                self.set(name, value.clone());
            }
        }
    }

    /// Structured attributes instead of the derivation's variables.
    fn add_structured(
        &mut self,
        attributes: &StructuredAttrs,
        derivation: &BasicDerivation,
        graphs: Graphs,
        top: &str,
    ) -> Result<(), EnvironmentError> {
        let graphs = match graphs {
            Graphs::Json(graphs) => graphs,
            Graphs::Text(_) => BTreeMap::new(),
        };
        let files = structured::files(attributes, derivation.outputs.keys(), graphs)
            .map_err(EnvironmentError::Structured)?;
        self.set_file("NIX_ATTRS_SH_FILE", top, ".attrs.sh".into(), files.shell);
        self.set_file("NIX_ATTRS_JSON_FILE", top, ".attrs.json".into(), files.json);
        Ok(())
    }

    /// What no derivation can set.
    fn override_with(&mut self, kind: Kind, attributes: &Attributes, around: Surroundings<'_>) {
        for name in ["NIX_BUILD_TOP", "TMPDIR", "TEMPDIR", "TMP", "TEMP", "PWD"] {
            self.set(name, around.build_top);
        }
        if kind.is_fixed() {
            self.set("NIX_OUTPUT_CHECKED", "1");
        }
        if kind.is_open() {
            for name in &attributes.impure_env_vars {
                let value = around.impure.get(name).map_or("", String::as_str);
                self.set(name, value);
            }
        }
        self.set("NIX_LOG_FD", "2");
        self.set("TERM", "xterm-256color");
    }

    fn rewrite(self, rewrites: &Rewrites) -> Result<Self, EnvironmentError> {
        let mut variables = BTreeMap::new();
        for (name, value) in self.variables {
            let name = String::from_utf8_lossy(&rewrites.apply(name.as_bytes())).into_owned();
            let value = rewrites.apply(&value);
            check_variable(&name, &value)?;
            variables.insert(name, value);
        }
        let files = self.files.into_iter();
        let files = files.map(|(name, contents)| (name, rewrites.apply(&contents)));
        Ok(Self {
            variables,
            files: files.collect(),
        })
    }
}

/// What every build gets, and a derivation may set otherwise.
fn common(around: Surroundings<'_>) -> BTreeMap<String, Vec<u8>> {
    let cores = around.cores.to_string();
    [
        ("PATH", PATH),
        ("HOME", HOME),
        ("NIX_STORE", around.store_dir.as_str()),
        ("NIX_BUILD_CORES", &cores),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
    .collect()
}

/// Nix cuts such variables at the zero; that helps nobody.
fn check_variable(name: &str, value: &[u8]) -> Result<(), EnvironmentError> {
    let reason = if name.contains(['\0', '=']) || name.is_empty() {
        "has a name that no program can be given"
    } else if value.contains(&0) {
        "holds a zero byte"
    } else {
        return Ok(());
    };
    Err(EnvironmentError::Variable {
        name: name.to_owned(),
        reason,
    })
}

#[cfg(test)]
mod tests;
