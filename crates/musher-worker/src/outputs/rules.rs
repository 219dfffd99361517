//! What a derivation says its outputs may be: `allowedReferences` and its kin,
//! from the environment or, with structured attributes, from `outputChecks`.
//! Pure.

use std::collections::{BTreeMap, BTreeSet};

use musher_protocol::types::BasicDerivation;
use nix_derivation::{StoreDir, StorePath, StructuredAttrs};
use serde_json::Value;

/// The rules of a derivation for its outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputRules {
    checks: Checks,
    undisclosed: BTreeSet<String>,
}

/// Which checks an output has to pass.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Checks {
    /// Every output the same.
    All(Box<OutputChecks>),
    /// Each its own, if it is named at all.
    Each(BTreeMap<String, OutputChecks>),
}

/// The checks one output has to pass. A set that is missing allows all; one
/// that is empty allows nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OutputChecks {
    /// The most bytes of its NAR.
    pub(crate) max_size: Option<u64>,
    /// The most bytes of all NARs of its closure.
    pub(crate) max_closure_size: Option<u64>,
    /// All that it may refer to.
    pub(crate) allowed_references: Option<BTreeSet<Mention>>,
    /// All that may be in its closure.
    pub(crate) allowed_requisites: Option<BTreeSet<Mention>>,
    /// What it must not refer to.
    pub(crate) disallowed_references: BTreeSet<Mention>,
    /// What must not be in its closure.
    pub(crate) disallowed_requisites: BTreeSet<Mention>,
    /// Whether it is itself left out of what is said of its closure.
    pub(crate) ignore_self: bool,
}

/// What a check mentions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mention {
    /// A store path.
    Path(StorePath),
    /// An output of the same derivation, by name.
    Output(String),
}

/// Rules that make no sense.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// The structured attributes are none.
    #[error("cannot parse the structured attributes")]
    Attributes {
        /// What is wrong with them.
        source: nix_derivation::Error,
    },
    /// An attribute of the environment is not text.
    #[error("attribute `{attribute}` is not text")]
    NotText {
        /// Its name.
        attribute: &'static str,
    },
    /// An attribute has a value of the wrong kind.
    #[error("attribute `{attribute}` is not {expected}")]
    Kind {
        /// Its name, with what it is in.
        attribute: String,
        /// What it should be.
        expected: &'static str,
    },
}

impl OutputRules {
    /// The rules of `derivation`.
    pub fn of(derivation: &BasicDerivation, store_dir: &StoreDir) -> Result<Self, RulesError> {
        match derivation.env.get("__json") {
            Some(json) => {
                let attributes = StructuredAttrs::from_json_bytes(json.clone());
                let attributes = attributes.map_err(|source| RulesError::Attributes { source })?;
                Self::structured(&attributes, store_dir)
            }
            None => Self::plain(&derivation.env, store_dir),
        }
    }

    fn plain(env: &BTreeMap<String, Vec<u8>>, store_dir: &StoreDir) -> Result<Self, RulesError> {
        let mentions = |attribute| {
            let Some(value) = env.get(attribute) else {
                return Ok(None);
            };
            let text = std::str::from_utf8(value).map_err(|_| RulesError::NotText { attribute })?;
            let words = text.split_ascii_whitespace();
            let mentions = words.map(|word| Mention::parse(word, store_dir)).collect();
            Ok(Some(mentions))
        };
        let checks = OutputChecks {
            max_size: None,
            max_closure_size: None,
            allowed_references: mentions("allowedReferences")?,
            allowed_requisites: mentions("allowedRequisites")?,
            disallowed_references: mentions("disallowedReferences")?.unwrap_or_default(),
            disallowed_requisites: mentions("disallowedRequisites")?.unwrap_or_default(),
            ignore_self: true,
        };
        Ok(Self {
            checks: Checks::All(Box::new(checks)),
            undisclosed: BTreeSet::new(),
        })
    }

    fn structured(attributes: &StructuredAttrs, store_dir: &StoreDir) -> Result<Self, RulesError> {
        let mut checks = BTreeMap::new();
        if let Some(value) = attributes.get("outputChecks") {
            for (output, value) in object("outputChecks", value)? {
                let at = format!("outputChecks.{output}");
                let found = OutputChecks::structured(&at, value, store_dir)?;
                checks.insert(output.clone(), found);
            }
        }
        let mut undisclosed = BTreeSet::new();
        if let Some(value) = attributes.get("unsafeDiscardReferences") {
            for (output, value) in object("unsafeDiscardReferences", value)? {
                let discard = value.as_bool().ok_or_else(|| RulesError::Kind {
                    attribute: format!("unsafeDiscardReferences.{output}"),
                    expected: "true or false",
                })?;
                if discard {
                    undisclosed.insert(output.clone());
                }
            }
        }
        Ok(Self {
            checks: Checks::Each(checks),
            undisclosed,
        })
    }

    /// The checks that `output` has to pass, if there are any.
    pub(crate) fn checks(&self, output: &str) -> Option<&OutputChecks> {
        match &self.checks {
            Checks::All(checks) => Some(checks),
            Checks::Each(checks) => checks.get(output),
        }
    }

    /// Whether references in `output` do not count (`unsafeDiscardReferences`).
    pub(crate) fn discards_references(&self, output: &str) -> bool {
        self.undisclosed.contains(output)
    }
}

impl OutputChecks {
    fn structured(at: &str, value: &Value, store_dir: &StoreDir) -> Result<Self, RulesError> {
        let values = object(at, value)?;
        let size = |name: &str| {
            let size = values.get(name).map(|value| {
                value.as_u64().ok_or_else(|| RulesError::Kind {
                    attribute: format!("{at}.{name}"),
                    expected: "a number of bytes",
                })
            });
            size.transpose()
        };
        let mentions = |name: &str| {
            let wrong = || RulesError::Kind {
                attribute: format!("{at}.{name}"),
                expected: "a list of strings",
            };
            let Some(value) = values.get(name) else {
                return Ok(None);
            };
            let items = value.as_array().ok_or_else(wrong)?.iter();
            let mentions = items.map(|item| {
                let text = item.as_str().ok_or_else(wrong)?;
                Ok(Mention::parse(text, store_dir))
            });
            mentions.collect::<Result<BTreeSet<_>, _>>().map(Some)
        };
        Ok(Self {
            max_size: size("maxSize")?,
            max_closure_size: size("maxClosureSize")?,
            allowed_references: mentions("allowedReferences")?,
            allowed_requisites: mentions("allowedRequisites")?,
            disallowed_references: mentions("disallowedReferences")?.unwrap_or_default(),
            disallowed_requisites: mentions("disallowedRequisites")?.unwrap_or_default(),
            // Nix reads `ignoreSelfRefs` nowhere; only what is said in the
            // environment ignores them.
            ignore_self: false,
        })
    }
}

impl Mention {
    /// What is no store path is taken for an output's name, and found wanting
    /// when the check is made.
    fn parse(text: &str, store_dir: &StoreDir) -> Self {
        match store_dir.parse_path(text.as_bytes()) {
            Ok(path) => Self::Path(path),
            Err(_) => Self::Output(text.to_owned()),
        }
    }
}

fn object<'a>(
    at: &str,
    value: &'a Value,
) -> Result<&'a serde_json::Map<String, Value>, RulesError> {
    value.as_object().ok_or_else(|| RulesError::Kind {
        attribute: at.to_owned(),
        expected: "a set",
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    const PATH: &str = "/nix/store/dc04vv14dak1c1r48qa0m23vr9jy8sm0-hello";

    fn derivation(env: &[(&str, &str)]) -> BasicDerivation {
        let env = env.iter().map(|(name, value)| {
            let (name, value) = (*name, *value);
            (name.to_owned(), value.as_bytes().to_vec())
        });
        BasicDerivation {
            outputs: BTreeMap::new(),
            input_sources: BTreeSet::new(),
            system: "x86_64-linux".to_owned(),
            builder: "/bin/sh".to_owned(),
            args: Vec::new(),
            env: env.collect(),
        }
    }

    fn rules(env: &[(&str, &str)]) -> Result<OutputRules, RulesError> {
        OutputRules::of(&derivation(env), &StoreDir::default())
    }

    #[test]
    fn the_environment_speaks_for_every_output() {
        let rules = rules(&[("allowedReferences", &format!(" out\n{PATH}"))]).unwrap();
        let checks = rules.checks("any").unwrap();
        let hello = StorePath::from_absolute_path(PATH.as_bytes()).unwrap();
        let expected = BTreeSet::from([Mention::Path(hello), Mention::Output("out".to_owned())]);
        assert_eq!(checks.allowed_references, Some(expected));
        assert_eq!(checks.allowed_requisites, None);
        assert!(checks.ignore_self);
    }

    #[test]
    fn an_empty_list_is_not_a_missing_one() {
        let rules = rules(&[("allowedRequisites", "")]).unwrap();
        let checks = rules.checks("out").unwrap();
        assert_eq!(checks.allowed_requisites, Some(BTreeSet::new()));
    }

    #[test]
    fn structured_attributes_speak_for_each_output() {
        let json = r#"{"outputChecks":{"lib":{"maxSize":5,"disallowedReferences":["out"]}},
            "unsafeDiscardReferences":{"out":true,"lib":false},"allowedReferences":[]}"#;
        let rules = rules(&[("__json", json), ("allowedReferences", "")]).unwrap();
        assert_eq!(rules.checks("out"), None);
        let lib = rules.checks("lib").unwrap();
        assert_eq!(lib.max_size, Some(5));
        assert_eq!(
            lib.disallowed_references,
            BTreeSet::from([Mention::Output("out".to_owned())])
        );
        assert!(rules.discards_references("out") && !rules.discards_references("lib"));
    }

    #[track_caller]
    fn refused(json: &str, expected: &str) {
        let error = rules(&[("__json", json)]).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn values_of_the_wrong_kind_are_named() {
        refused(
            r#"{"outputChecks":{"out":{"maxSize":-1}}}"#,
            "attribute `outputChecks.out.maxSize` is not a number of bytes",
        );
        refused(
            r#"{"outputChecks":{"out":{"allowedReferences":"out"}}}"#,
            "attribute `outputChecks.out.allowedReferences` is not a list of strings",
        );
        refused(
            r#"{"outputChecks":[]}"#,
            "attribute `outputChecks` is not a set",
        );
        refused(
            r#"{"unsafeDiscardReferences":{"out":1}}"#,
            "attribute `unsafeDiscardReferences.out` is not true or false",
        );
    }
}
