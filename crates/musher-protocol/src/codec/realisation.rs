//! Built outputs and realisations. Old Nix writes them as JSON in a string and
//! knows the derivation by its hash modulo; Nix 2.35 has a form of its own and
//! knows the derivation by its path.
//!
//! ```text
//! JSON outputs  = count, ("<hash>!<output>", realisation)*
//! realisation   = string of {"dependentRealisations": {ID: BASENAME},
//!                 "id": ID, "outPath": BASENAME, "signatures": [SIGNATURE]}
//! SIGNATURE     = "KEY:BASE64" | {"keyName": KEY, "sig": BASE64}
//! typed outputs = count, (output name, unkeyed)*
//! unkeyed       = path, signatures: set of string
//! ```
//!
//! Nix 2.35, which has no hash to say, writes 64 zeros for it and leaves out
//! the signatures; so do we where the hash is not known. Nix 2.34 writes
//! signatures as objects, which older ones cannot read; we write strings,
//! which all can.

use std::collections::{BTreeMap, BTreeSet};

use nix_derivation::StorePath;
use serde_json::{Map, Value};

use crate::types::{BuiltOutput, DrvHashOutput};
use crate::wire::{DecodeError, Decoder, Encoder};

/// What stands for the hash modulo of a derivation by one who does not know it.
const NO_HASH: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// Writes outputs by name, path and signatures.
pub(crate) fn encode_typed_outputs(outputs: &BTreeMap<String, BuiltOutput>, to: &mut Encoder) {
    to.count(outputs.len());
    for (name, output) in outputs {
        to.string(name);
        encode_unkeyed(output, to);
    }
}

/// Reads outputs by name, path and signatures.
pub(crate) async fn typed_outputs(
    from: &mut Decoder,
) -> Result<BTreeMap<String, BuiltOutput>, DecodeError> {
    let mut outputs = BTreeMap::new();
    for _ in 0..from.count("built outputs").await? {
        let name = from.short("output name").await?;
        outputs.insert(name, unkeyed(from).await?);
    }
    Ok(outputs)
}

/// Writes the path and the signatures of `output`.
pub(crate) fn encode_unkeyed(output: &BuiltOutput, to: &mut Encoder) {
    to.path(&output.path);
    to.strings(&output.signatures);
}

/// Reads a path and its signatures.
pub(crate) async fn unkeyed(from: &mut Decoder) -> Result<BuiltOutput, DecodeError> {
    Ok(BuiltOutput {
        drv_hash: None,
        path: from.path("output path").await?,
        signatures: from.strings("realisation signatures").await?,
        dependent_realisations: BTreeMap::new(),
    })
}

/// Writes outputs as realisations in JSON.
pub(crate) fn encode_json_outputs(outputs: &BTreeMap<String, BuiltOutput>, to: &mut Encoder) {
    to.count(outputs.len());
    for (name, output) in outputs {
        to.string(&id_text(output.drv_hash.as_deref(), name));
        encode_json(name, output, to);
    }
}

/// Reads outputs that are realisations in JSON.
pub(crate) async fn json_outputs(
    from: &mut Decoder,
) -> Result<BTreeMap<String, BuiltOutput>, DecodeError> {
    let mut outputs = BTreeMap::new();
    for _ in 0..from.count("built outputs").await? {
        // The key only repeats what the realisation says.
        hash_output(from, "built output").await?;
        let (name, output) = json(from).await?;
        outputs.insert(name, output);
    }
    Ok(outputs)
}

/// Writes the realisation of `output`, named `name`, in JSON. The members are
/// in the order in which Nix writes them.
pub(crate) fn encode_json(name: &str, output: &BuiltOutput, to: &mut Encoder) {
    let id = quoted(&id_text(output.drv_hash.as_deref(), name));
    let path = quoted(&output.path.to_basename());
    let text = if output.drv_hash.is_some() {
        let dependents = output
            .dependent_realisations
            .iter()
            .map(|(id, path)| {
                let id = id_text(Some(&id.drv_hash), &id.output);
                format!("{}:{}", quoted(&id), quoted(&path.to_basename()))
            })
            .collect::<Vec<_>>()
            .join(",");
        let signatures = output.signatures.iter().map(|text| quoted(text));
        let signatures = signatures.collect::<Vec<_>>().join(",");
        format!(
            "{{\"dependentRealisations\":{{{dependents}}},\"id\":{id},\
             \"outPath\":{path},\"signatures\":[{signatures}]}}"
        )
    } else {
        format!("{{\"id\":{id},\"outPath\":{path}}}")
    };
    to.string(&text);
}

/// Reads a realisation in JSON: the output's name and what it is.
pub(crate) async fn json(from: &mut Decoder) -> Result<(String, BuiltOutput), DecodeError> {
    const FIELD: &str = "realisation";
    let offset = from.offset();
    let text = from.long(FIELD).await?;
    parse(&text).map_err(|what| {
        let expected = format!("a realisation in JSON with {what}");
        from.error(FIELD, offset, expected, shortened(&text))
    })
}

/// Reads `<hash>!<output>`.
pub(crate) async fn hash_output(
    from: &mut Decoder,
    field: &'static str,
) -> Result<DrvHashOutput, DecodeError> {
    let offset = from.offset();
    let text = from.short(field).await?;
    parse_id(&text).ok_or_else(|| {
        let found = shortened(&text);
        from.error(field, offset, "`sha256:<hex>!<output name>`", found)
    })
}

/// Writes `<hash>!<output>`.
pub(crate) fn encode_hash_output(id: &DrvHashOutput, to: &mut Encoder) {
    to.string(&id_text(Some(&id.drv_hash), &id.output));
}

fn id_text(drv_hash: Option<&str>, output: &str) -> String {
    format!("{}!{output}", drv_hash.unwrap_or(NO_HASH))
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn parse_id(text: &str) -> Option<DrvHashOutput> {
    let (drv_hash, output) = text.split_once('!')?;
    let (algorithm, digest) = drv_hash.split_once(':')?;
    (!algorithm.is_empty() && !digest.is_empty() && !output.is_empty()).then(|| DrvHashOutput {
        drv_hash: drv_hash.to_owned(),
        output: output.to_owned(),
    })
}

/// Parses a realisation, or says which part of it is missing or wrong.
fn parse(text: &str) -> Result<(String, BuiltOutput), &'static str> {
    let value: Value = serde_json::from_str(text).map_err(|_| "valid syntax")?;
    let members = value.as_object().ok_or("members")?;
    let id = members
        .get("id")
        .and_then(Value::as_str)
        .and_then(parse_id)
        .ok_or("an `id`")?;
    let path = members
        .get("outPath")
        .and_then(base_name)
        .ok_or("an `outPath`")?;
    let output = BuiltOutput {
        drv_hash: Some(id.drv_hash).filter(|hash| hash != NO_HASH),
        path,
        signatures: signatures(members).ok_or("well-formed `signatures`")?,
        dependent_realisations: dependents(members).ok_or("well-formed `dependentRealisations`")?,
    };
    Ok((id.output, output))
}

fn signatures(members: &Map<String, Value>) -> Option<BTreeSet<String>> {
    let Some(signatures) = members.get("signatures") else {
        return Some(BTreeSet::new());
    };
    signatures.as_array()?.iter().map(signature).collect()
}

fn signature(value: &Value) -> Option<String> {
    if let Some(text) = value.as_str() {
        return Some(text.to_owned());
    }
    let members = value.as_object()?;
    let key = members.get("keyName")?.as_str()?;
    let signature = members.get("sig")?.as_str()?;
    Some(format!("{key}:{signature}"))
}

fn dependents(members: &Map<String, Value>) -> Option<BTreeMap<DrvHashOutput, StorePath>> {
    let Some(dependents) = members.get("dependentRealisations") else {
        return Some(BTreeMap::new());
    };
    dependents
        .as_object()?
        .iter()
        .map(|(id, path)| Some((parse_id(id)?, base_name(path)?)))
        .collect()
}

fn base_name(value: &Value) -> Option<StorePath> {
    StorePath::from_basename(value.as_str()?.as_bytes()).ok()
}

fn shortened(text: &str) -> String {
    const MOST: usize = 200;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("`{}…`", &text[..end]),
        None => format!("`{text}`"),
    }
}
