//! What builds are started with, variable by variable.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use expect_test::{Expect, expect};
use nix_derivation::store_path::hash_placeholder;

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

fn environment(kind: Kind, env: &[(&str, &str)]) -> Result<Environment, EnvironmentError> {
    let store_dir = StoreDir::default();
    let derivation = derivation(env);
    let attributes = Attributes::of(&derivation, &store_dir).expect("attributes");
    let mut rewrites = Rewrites::default();
    rewrites.insert(hash_placeholder("out"), "/nix/store/here");
    let impure = BTreeMap::from([("http_proxy".to_owned(), "http://proxy".to_owned())]);
    let surroundings = Surroundings {
        store_dir: &store_dir,
        cores: 4,
        build_top: "/build",
        impure: &impure,
    };
    let graphs = Graphs::Text(BTreeMap::from([("graph".to_owned(), b"text".to_vec())]));
    Environment::of(
        &derivation,
        &attributes,
        kind,
        graphs,
        &rewrites,
        surroundings,
    )
}

#[track_caller]
fn check(kind: Kind, env: &[(&str, &str)], expected: &Expect) {
    let made = environment(kind, env).expect("an environment");
    let mut text = String::new();
    for (name, value) in &made.variables {
        writeln!(text, "{name}={}", String::from_utf8_lossy(value)).expect("a string");
    }
    for (name, contents) in &made.files {
        writeln!(text, "{name}: {}", String::from_utf8_lossy(contents)).expect("a string");
    }
    expected.assert_eq(&text);
}

#[test]
fn a_derivation_may_set_some_variables_and_not_others() {
    let out = hash_placeholder("out");
    check(
        Kind::InputAddressed,
        &[
            ("HOME", "/mine"),
            ("PATH", "/bin"),
            ("PWD", "/lost"),
            ("TERM", "dumb"),
            ("NIX_LOG_FD", "9"),
            ("impureEnvVars", "http_proxy"),
            ("out", &out),
        ],
        &expect![[r#"
            HOME=/mine
            NIX_BUILD_CORES=4
            NIX_BUILD_TOP=/build
            NIX_LOG_FD=2
            NIX_STORE=/nix/store
            PATH=/bin
            PWD=/build
            TEMP=/build
            TEMPDIR=/build
            TERM=xterm-256color
            TMP=/build
            TMPDIR=/build
            impureEnvVars=http_proxy
            out=/nix/store/here
            graph: text
        "#]],
    );
}

#[test]
fn a_fixed_output_takes_variables_of_the_worker() {
    check(
        Kind::Fixed,
        &[
            ("impureEnvVars", "http_proxy https_proxy"),
            ("http_proxy", "no"),
        ],
        &expect![[r#"
            HOME=/homeless-shelter
            NIX_BUILD_CORES=4
            NIX_BUILD_TOP=/build
            NIX_LOG_FD=2
            NIX_OUTPUT_CHECKED=1
            NIX_STORE=/nix/store
            PATH=/path-not-set
            PWD=/build
            TEMP=/build
            TEMPDIR=/build
            TERM=xterm-256color
            TMP=/build
            TMPDIR=/build
            http_proxy=http://proxy
            https_proxy=
            impureEnvVars=http_proxy https_proxy
            graph: text
        "#]],
    );
}

#[test]
fn large_values_are_passed_as_files() {
    let made = environment(
        Kind::InputAddressed,
        &[("passAsFile", "text"), ("text", &hash_placeholder("out"))],
    )
    .expect("an environment");
    assert_eq!(made.variables.get("text"), None);
    let file = ".attr-1ni2y2znwqcwxzsfz0ixn4r0qb2yj3mfbgdjd4fmqfv0zmnajflr";
    let path = String::from_utf8_lossy(&made.variables["textPath"]).into_owned();
    let name = path
        .strip_prefix("/build/")
        .expect("in the build directory");
    assert_eq!(name.len(), file.len());
    assert_eq!(made.files[name], b"/nix/store/here");
}

#[test]
fn structured_attributes_leave_nothing_in_the_environment() {
    check(
        Kind::InputAddressed,
        &[("__json", r#"{"a":"b"}"#), ("out", "x")],
        &expect![[r#"
            HOME=/homeless-shelter
            NIX_ATTRS_JSON_FILE=/build/.attrs.json
            NIX_ATTRS_SH_FILE=/build/.attrs.sh
            NIX_BUILD_CORES=4
            NIX_BUILD_TOP=/build
            NIX_LOG_FD=2
            NIX_STORE=/nix/store
            PATH=/path-not-set
            PWD=/build
            TEMP=/build
            TEMPDIR=/build
            TERM=xterm-256color
            TMP=/build
            TMPDIR=/build
            .attrs.json: {"a":"b","outputs":{}}
            .attrs.sh: declare a='b'
            declare -A outputs=()

        "#]],
    );
}

#[test]
fn variables_that_no_program_can_have_are_refused() {
    for (name, value) in [("a=b", ""), ("", "x"), ("a", "b\0c")] {
        let error = environment(Kind::InputAddressed, &[(name, value)]);
        assert!(
            matches!(error, Err(EnvironmentError::Variable { .. })),
            "{name:?}"
        );
    }
}
