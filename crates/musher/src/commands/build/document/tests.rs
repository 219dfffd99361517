//! What documents are read as, and what is wrong with others.

use std::path::Path;

use expect_test::{Expect, expect};
use nix_derivation::{Derivation, DerivationBuilder, InputDerivation, StoreDir, StorePath};
use serde_json::{Value, json};

use super::{Document, Draft};

fn parse(value: &Value) -> Result<Document, super::DocumentError> {
    let text = value.to_string();
    let draft = Draft::parse(text.as_bytes())?;
    draft.read(Path::new("/dir"), &StoreDir::default())
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
    let called = |name, outputs: &[&str]| {
        let outputs = outputs.iter().map(|name| (*name).to_owned()).collect();
        let wanted = document.wanted(Some(name), &outputs);
        wanted.map_err(|error| format!("{error}; {:?}", error.help()))
    };
    let wanted = called("lib", &[]).expect("one");
    assert_eq!(wanted[0].drv_path.name(), "lib.drv");
    assert!(wanted[0].outputs.iter().eq(["out"]));
    assert!(called("other", &[]).is_err());
    expect!["`lib` has no output `doc`; Some(\"it has `out`\")"]
        .assert_eq(&called("lib", &["out", "doc"]).expect_err("an error"));
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
fn a_document_may_hold_nothing_to_build() {
    let check = |value: &Value, unchosen: bool, chosen: bool| {
        let draft = Draft::parse(value.to_string().as_bytes()).expect("a draft");
        assert_eq!(draft.is_empty(false), unchosen, "{value}");
        assert_eq!(draft.is_empty(true), chosen, "{value}");
    };
    let lib = lib();
    let one = json!({ base(&lib): json_of(&lib) });
    check(&json!({}), true, true);
    check(&json!({ "derivations": {} }), true, true);
    check(&json!({ "derivations": one, "roots": [] }), true, false);
    check(&json!({ "derivations": one }), false, false);
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
