//! What a derivation says its outputs may be.

use std::fs;

use expect_test::expect;

use super::bench::{Build, FLOATING, INPUT_ADDRESSED};

#[test]
fn references_are_held_against_the_rules() {
    let build = Build::new(&[("dev", INPUT_ADDRESSED), ("out", INPUT_ADDRESSED)])
        .wrote("out", "", "{dev}")
        .wrote("dev", "", "{input}");
    build.env("allowedReferences", "dev").rejected(expect![[r#"
        output '/nix/store/0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-pkg-dev' is not allowed to refer to the following paths:
          /nix/store/zc842j0rz61mjsp3h3wp5ly71ak6qgdn-input"#]]);
    let build = Build::new(&[("dev", INPUT_ADDRESSED), ("out", INPUT_ADDRESSED)])
        .wrote("out", "", "{dev}")
        .wrote("dev", "", "{input}")
        .env("disallowedRequisites", "{input}");
    build.rejected(expect![[r#"
        output '/nix/store/0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-pkg-dev' is not allowed to refer to the following paths:
          /nix/store/zc842j0rz61mjsp3h3wp5ly71ak6qgdn-input"#]]);
    assert_eq!(build.valid_outputs(), 0);
}

#[test]
fn an_output_is_left_out_of_its_own_requisites_but_not_of_its_references() {
    let build = || Build::new(&[("out", INPUT_ADDRESSED)]).wrote("out", "", "{out}");
    build().env("allowedRequisites", "").paths();
    build().env("allowedReferences", "out").paths();
    build().env("allowedReferences", "").rejected(expect![[r#"
        output '/nix/store/0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-pkg' is not allowed to refer to the following paths:
          /nix/store/0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-pkg"#]]);
}

#[test]
fn a_rule_about_an_unknown_output_is_refused() {
    let build = Build::new(&[("out", INPUT_ADDRESSED)])
        .wrote("out", "", "")
        .env("disallowedReferences", "lib");
    build.rejected(expect![
        "derivation '/nix/store/dc04vv14dak1c1r48qa0m23vr9jy8sm0-pkg.drv' output check for 'out' contains output name 'lib', but this is not a valid output of this derivation. (Valid outputs are [out].)"
    ]);
}

#[test]
fn sizes_are_held_against_the_rules() {
    let build = |checks: &str| {
        Build::new(&[("out", INPUT_ADDRESSED)])
            .wrote("out", "", "{input}")
            .env(
                "__json",
                &format!(r#"{{"outputChecks":{{"out":{checks}}}}}"#),
            )
    };
    build(r#"{"maxSize":168,"maxClosureSize":288}"#).paths();
    build(r#"{"maxSize":167}"#).rejected(expect![
        "path '/nix/store/0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-pkg' is too large at 168 bytes; limit is 167 bytes"
    ]);
    build(r#"{"maxClosureSize":287}"#).rejected(expect![
        "closure of path '/nix/store/0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-pkg' is too large at 288 bytes; limit is 287 bytes"
    ]);
}

#[test]
fn references_that_do_not_count_are_not_looked_for() {
    let build = Build::new(&[("out", FLOATING)])
        .wrote("out", "", "{input} {out}")
        .env("__json", r#"{"unsafeDiscardReferences":{"out":true}}"#);
    let paths = build.accepted(expect![[r#"
        out ->
    "#]]);
    // It still says its own name.
    let text = fs::read_to_string(build.store.real_path(&paths["out"])).unwrap();
    assert!(text.ends_with(&build.store.store_dir().render_path(&paths["out"])));
}
