//! The files that give structured attributes to a build: `.attrs.json` for
//! whoever reads JSON, `.attrs.sh` for bash. Placeholders in them are still to
//! be replaced.
//!
//! The crate that knows derivations writes both, but not with
//! `exportReferencesGraph`; its canonical JSON serves here, its shell does not.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use nix_derivation::StructuredAttrs;
use nix_derivation::store_path::hash_placeholder;
use serde_json::{Map, Number, Value};

/// The contents of `.attrs.json` and `.attrs.sh`.
#[derive(Debug)]
pub(crate) struct StructuredFiles {
    /// `.attrs.json`
    pub(crate) json: Vec<u8>,
    /// `.attrs.sh`
    pub(crate) shell: Vec<u8>,
}

/// The files for `attributes`, with `outputs` and the reference `graphs` put
/// among them; these win over attributes of the same name.
pub(crate) fn files<'a>(
    attributes: &StructuredAttrs,
    outputs: impl Iterator<Item = &'a String>,
    graphs: BTreeMap<String, Value>,
) -> Result<StructuredFiles, nix_derivation::Error> {
    let mut object: Map<String, Value> = attributes
        .iter()
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .collect();
    let outputs = outputs
        .map(|name| (name.clone(), hash_placeholder(name).into()))
        .collect();
    object.insert("outputs".into(), Value::Object(outputs));
    object.extend(graphs);
    let whole = StructuredAttrs::from_json_bytes(Value::Object(object).to_string())?;
    Ok(StructuredFiles {
        shell: shell(&whole).into_bytes(),
        json: whole.canonical_json().to_vec(),
    })
}

/// A `declare` for every attribute that bash can hold. Others are left out,
/// and so are names that are not variables.
fn shell(attributes: &StructuredAttrs) -> String {
    let mut shell = String::new();
    for (name, value) in attributes.iter().filter(|(name, _)| is_variable(name)) {
        // Nothing fails that writes to a string.
        let _ = match declaration(value) {
            Some((flags, value)) => writeln!(shell, "declare {flags}{name}={value}"),
            None => Ok(()),
        };
    }
    shell
}

fn declaration(value: &Value) -> Option<(&'static str, String)> {
    if let Some(simple) = simple(value) {
        return Some(("", simple));
    }
    if let Some(values) = value.as_array() {
        let mut list = String::new();
        for value in values {
            write!(list, "{} ", simple(value)?).ok()?;
        }
        return Some(("-a ", format!("({list})")));
    }
    let mut list = String::new();
    for (key, value) in value.as_object()? {
        write!(list, "[{}]={} ", quoted(key), simple(value)?).ok()?;
    }
    Some(("-A ", format!("({list})")))
}

/// A value that is one word of bash.
fn simple(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some("''".into()),
        Value::Bool(true) => Some("1".into()),
        Value::Bool(false) => Some(String::new()),
        Value::String(text) => Some(quoted(text)),
        Value::Number(number) => whole(number),
        Value::Array(_) | Value::Object(_) => None,
    }
}

/// A number without a fraction, as far as single precision tells, and what is
/// left of it in 32 bits. Nix writes it so, and outputs depend on it.
#[expect(
    clippy::cast_possible_truncation,
    reason = "large numbers lose digits, as in Nix"
)]
fn whole(number: &Number) -> Option<String> {
    let float = number.as_f64()?;
    let single = float as f32;
    if single.ceil() != single {
        return None;
    }
    let int = match (number.as_i64(), number.as_u64()) {
        (Some(int), _) => int as i32,
        (None, Some(int)) => int as i32,
        (None, None) => truncated(float),
    };
    Some(int.to_string())
}

/// What x86-64 makes of a float as an integer of 32 bits.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the range is checked before"
)]
fn truncated(float: f64) -> i32 {
    let whole = float.trunc();
    match f64::from(i32::MIN) <= whole && whole <= f64::from(i32::MAX) {
        true => whole as i32,
        false => i32::MIN,
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn is_variable(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn numbers_lose_digits_as_in_nix() {
        for (json, expected) in [
            ("-3", Some("-3")),
            ("1.5", None),
            ("2.0", Some("2")),
            ("4294967299", Some("3")),
            ("3000000000", Some("-1294967296")),
            ("18446744073709551615", Some("-1")),
            ("1e30", Some("-2147483648")),
            ("16777216.5", Some("16777216")),
        ] {
            let number: Number = serde_json::from_str(json).expect("a number");
            assert_eq!(whole(&number).as_deref(), expected, "{json}");
        }
    }

    #[test]
    fn both_files_hold_attributes_outputs_and_graphs() {
        let attributes = StructuredAttrs::from_json_bytes(
            r#"{"b":true,"c":false,"n":null,"i":-3,"f":1.5,"s":"it's","l":["a",1],
                "deep":[["x"]],"m":{"k":"v"},"bad-name":"x","outputs":"lost",
                "exportReferencesGraph":{"graph":"/nix/store/x"}}"#,
        )
        .expect("attributes");
        let graphs = BTreeMap::from([("graph".to_owned(), serde_json::json!([{"path": "p"}]))]);
        let files = files(&attributes, ["out".to_owned()].iter(), graphs).expect("files");
        expect![[r#"
            {"b":true,"bad-name":"x","c":false,"deep":[["x"]],"exportReferencesGraph":{"graph":"/nix/store/x"},"f":1.5,"graph":[{"path":"p"}],"i":-3,"l":["a",1],"m":{"k":"v"},"n":null,"outputs":{"out":"/1rz4g4znpzjwh1xymhjpm42vipw92pr73vdgl6xs1hycac8kf2n9"},"s":"it's"}"#]]
        .assert_eq(&String::from_utf8_lossy(&files.json));
        expect![[r#"
            declare b=1
            declare c=
            declare -A exportReferencesGraph=(['graph']='/nix/store/x' )
            declare i=-3
            declare -a l=('a' 1 )
            declare -A m=(['k']='v' )
            declare n=''
            declare -A outputs=(['out']='/1rz4g4znpzjwh1xymhjpm42vipw92pr73vdgl6xs1hycac8kf2n9' )
            declare s='it'\''s'
        "#]]
        .assert_eq(&String::from_utf8_lossy(&files.shell));
    }
}
