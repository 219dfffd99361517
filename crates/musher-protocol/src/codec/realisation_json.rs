//! Realisations as peers up to Nix 2.34 write them, and as later ones write
//! them to those: a JSON object in a string.
//!
//! ```text
//! {"dependentRealisations":{"sha256:<digest>!out":"<base name>",…},
//!  "id":"sha256:<digest>!<output>","outPath":"<base name>","signatures":[…]}
//! ```
//!
//! A peer that no longer knows the derivation's hash writes a digest of zeros
//! and leaves out what is empty. A signature is the string `key:base64`; some
//! development versions wrote an object of `keyName` and `sig`, which is read
//! here and never written, since no released Nix before them can read it.

use std::collections::{BTreeMap, BTreeSet};

use nix_derivation::{NixHash, StorePath};
use serde_json::{Map, Value};

use crate::types::{BuiltOutput, DrvHashOutput};
use crate::wire::{DecodeError, Decoder, Encoder};

/// The most bytes of a realisation. JSON takes many times its length in memory
/// while it is parsed, and real ones are of a few hundred bytes.
const MOST: usize = 1 << 20;

/// What stands for a derivation's hash where the sender does not know it.
const UNKNOWN_HASH: &str =
    "sha256:0000000000000000000000000000000000000000000000000000000000000000";

impl Decoder {
    /// An output by its derivation's hash.
    pub async fn drv_hash_output(
        &mut self,
        field: &'static str,
    ) -> Result<DrvHashOutput, DecodeError> {
        let offset = self.offset();
        let string = self.short(field).await?;
        parse_id(&string).map_err(|reason| self.json_error(field, offset, reason))
    }

    /// A realisation as JSON, with the output it is of.
    pub async fn realisation_json(
        &mut self,
        field: &'static str,
    ) -> Result<(DrvHashOutput, BuiltOutput), DecodeError> {
        let offset = self.offset();
        let json = self.long_bytes(field).await?;
        if json.len() > MOST {
            let expected = format!("a realisation of at most {MOST} bytes");
            return Err(self.error(field, offset, expected, format!("{} bytes", json.len())));
        }
        parse(&json).map_err(|reason| self.json_error(field, offset, reason))
    }

    /// The outputs of one build, each with its realisation as JSON.
    pub async fn built_outputs_json(
        &mut self,
    ) -> Result<BTreeMap<String, BuiltOutput>, DecodeError> {
        let mut outputs = BTreeMap::new();
        for _ in 0..self.count("built outputs").await? {
            let id = self.drv_hash_output("built output").await?;
            let (_, output) = self.realisation_json("built output realisation").await?;
            outputs.insert(id.output, output);
        }
        Ok(outputs)
    }

    fn json_error(&self, field: &'static str, offset: u64, reason: Reason) -> DecodeError {
        self.error(field, offset, reason.expected, reason.found)
    }
}

impl Encoder {
    /// An output by its derivation's hash.
    pub fn drv_hash_output(&mut self, id: &DrvHashOutput) {
        self.string(&render_id(Some(&id.drv_hash), &id.output));
    }

    /// The realisation of the output `name`, as JSON.
    pub fn realisation_json(&mut self, name: &str, output: &BuiltOutput) {
        self.string(&render(name, output));
    }

    /// The outputs of one build, each with its realisation as JSON.
    pub fn built_outputs_json(&mut self, outputs: &BTreeMap<String, BuiltOutput>) {
        self.count(outputs.len());
        for (name, output) in outputs {
            self.string(&render_id(output.drv_hash.as_deref(), name));
            self.realisation_json(name, output);
        }
    }
}

/// Why a text is not a realisation.
struct Reason {
    expected: &'static str,
    found: String,
}

/// The most characters of a faulty text that an error repeats.
const SHOWN: usize = 200;

fn reason(expected: &'static str, found: impl std::fmt::Display) -> Reason {
    let found: String = found.to_string().chars().take(SHOWN).collect();
    Reason {
        expected,
        found: format!("`{found}`"),
    }
}

fn parse_id(string: &str) -> Result<DrvHashOutput, Reason> {
    let expected = "`algorithm:digest!output`";
    let (hash, output) = string
        .split_once('!')
        .ok_or_else(|| reason(expected, string))?;
    if NixHash::parse(hash).is_err() || output.is_empty() {
        return Err(reason(expected, string));
    }
    Ok(DrvHashOutput {
        drv_hash: hash.to_owned(),
        output: output.to_owned(),
    })
}

fn render_id(drv_hash: Option<&str>, output: &str) -> String {
    format!("{}!{output}", drv_hash.unwrap_or(UNKNOWN_HASH))
}

fn parse(json: &[u8]) -> Result<(DrvHashOutput, BuiltOutput), Reason> {
    let value: Value =
        serde_json::from_slice(json).map_err(|error| reason("a realisation as JSON", error))?;
    let id = parse_id(string_member(&value, "id")?)?;
    let path = parse_base_name(string_member(&value, "outPath")?)?;
    let mut signatures = BTreeSet::new();
    if let Some(list) = value.get("signatures") {
        let list = list
            .as_array()
            .ok_or_else(|| reason("a list of `signatures`", list))?;
        for signature in list {
            signatures.insert(parse_signature(signature)?);
        }
    }
    let mut dependent_realisations = BTreeMap::new();
    if let Some(map) = value.get("dependentRealisations") {
        let map = map
            .as_object()
            .ok_or_else(|| reason("an object `dependentRealisations`", map))?;
        for (id, path) in map {
            let path = path
                .as_str()
                .ok_or_else(|| reason("a store path's base name", path))?;
            dependent_realisations.insert(parse_id(id)?, parse_base_name(path)?);
        }
    }
    let output = BuiltOutput {
        drv_hash: (id.drv_hash != UNKNOWN_HASH).then(|| id.drv_hash.clone()),
        path,
        signatures,
        dependent_realisations,
    };
    Ok((id, output))
}

fn string_member<'a>(value: &'a Value, name: &'static str) -> Result<&'a str, Reason> {
    value
        .get(name)
        .and_then(Value::as_str)
        .ok_or_else(|| reason("a realisation with strings `id` and `outPath`", value))
}

fn parse_base_name(name: &str) -> Result<StorePath, Reason> {
    StorePath::from_basename(name.as_bytes()).map_err(|_| reason("a store path's base name", name))
}

fn parse_signature(value: &Value) -> Result<String, Reason> {
    if let Some(string) = value.as_str() {
        return Ok(string.to_owned());
    }
    let member = |name| value.get(name).and_then(Value::as_str);
    match (member("keyName"), member("sig")) {
        (Some(key), Some(signature)) => Ok(format!("{key}:{signature}")),
        _ => Err(reason("a signature", value)),
    }
}

fn render(name: &str, output: &BuiltOutput) -> String {
    // Members go in by name, so that they come out sorted, as Nix writes them,
    // whichever map serde_json was compiled with.
    let mut object = Map::new();
    let all = output.drv_hash.is_some();
    if all || !output.dependent_realisations.is_empty() {
        let dependencies = output.dependent_realisations.iter().map(|(id, path)| {
            let id = render_id(Some(&id.drv_hash), &id.output);
            (id, Value::from(path.to_basename()))
        });
        object.insert("dependentRealisations".into(), dependencies.collect());
    }
    let id = render_id(output.drv_hash.as_deref(), name);
    object.insert("id".into(), id.into());
    object.insert("outPath".into(), output.path.to_basename().into());
    if all || !output.signatures.is_empty() {
        let signatures = output.signatures.iter().cloned().map(Value::from);
        object.insert("signatures".into(), signatures.collect());
    }
    Value::Object(object).to_string()
}
