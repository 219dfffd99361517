//! What a builtin is told to do.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use musher_protocol::types::BasicDerivation;
use serde::{Deserialize, Serialize};

use super::BuiltinError;

/// The most bytes an order may have as JSON.
pub const MAX_ORDER: u64 = 256 << 20;

/// What one run of a builtin is to do. As JSON it is what `musher builtin`
/// reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuiltinOrder {
    /// The derivation's environment, as it is in the derivation.
    pub env: BTreeMap<String, Vec<u8>>,
    /// Where each output is to be made, as the program sees it.
    pub outputs: BTreeMap<String, PathBuf>,
    /// Whether `out` has a fixed hash, or is impure: only then may a builtin
    /// use the network.
    pub fetches: bool,
    /// What it may use of the host's.
    pub hosted: Hosted,
}

/// What the host lends to a builtin that fetches.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hosted {
    /// Names and passwords by host, in the form of a `.netrc` file.
    pub netrc: Option<String>,
    /// Certificates to trust, in PEM form; without them those this program
    /// was built with.
    pub certificates: Option<String>,
}

impl BuiltinOrder {
    /// An order for `derivation` with its outputs at `outputs`.
    pub fn new(
        derivation: &BasicDerivation,
        outputs: BTreeMap<String, PathBuf>,
        hosted: Hosted,
    ) -> Self {
        // An impure output has the word `impure` for its hash.
        let out = derivation.outputs.get("out");
        let fetches = out.is_some_and(|out| !out.hash.is_empty());
        Self {
            env: derivation.env.clone(),
            outputs,
            fetches,
            hosted,
        }
    }

    /// Reads an order that was written as JSON.
    pub fn read(source: &mut dyn Read) -> Result<Self, BuiltinError> {
        let order = serde_json::from_reader(source.take(MAX_ORDER));
        order.map_err(|source| BuiltinError::ReadOrder { source })
    }

    /// The order as JSON.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("bug: an order has a JSON form")
    }

    /// Where output `out` is to be made.
    pub(crate) fn out(&self) -> Result<&Path, BuiltinError> {
        let out = self.outputs.get("out").map(PathBuf::as_path);
        out.ok_or(BuiltinError::NoOut)
    }

    /// An attribute that may be missing.
    pub(crate) fn optional(&self, name: &str) -> Result<Option<&str>, BuiltinError> {
        let Some(value) = self.env.get(name) else {
            return Ok(None);
        };
        let text = std::str::from_utf8(value);
        text.map(Some).map_err(|_| BuiltinError::NotText {
            attribute: name.to_owned(),
        })
    }

    /// An attribute that must be there.
    pub(crate) fn attribute(&self, name: &str) -> Result<&str, BuiltinError> {
        let value = self.optional(name)?;
        value.ok_or_else(|| BuiltinError::MissingAttribute {
            attribute: name.to_owned(),
        })
    }
}
