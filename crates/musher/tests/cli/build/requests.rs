//! Requests that cannot be meant, and links that cannot be made.

use std::fs;
use std::process::Command;

use nix_derivation::{DerivationBuilder, StoreDir};
use serde_json::json;

use super::{Home, has_sandbox, simple};
use crate::cli::support::Place;

/// Runs `musher build` where neither a coordinator nor Nix is; no coordinator may
/// be started.
fn refused(place: &Place, words: &str) -> String {
    let dir = place.path();
    let output = Command::new(env!("CARGO_BIN_EXE_musher"))
        .args(["--run", "run", "--state", "state", "build"])
        .args(words.split_whitespace())
        .current_dir(dir)
        .env_clear()
        .env("HOME", dir)
        .env("PATH", dir)
        .output()
        .expect("musher runs");
    assert!(!dir.join("run").exists(), "{words} started one");
    assert_eq!(output.status.code(), Some(2), "{words}");
    assert!(output.stdout.is_empty(), "{words}");
    String::from_utf8(output.stderr).expect("text")
}

#[test]
fn nothing_to_build_is_said_before_anybody_is_asked() {
    let place = Place::with(&[
        ("none.json", r#"{"derivations":{}}"#),
        ("braces.json", "{}"),
    ]);
    let hello = simple("hello", "true");
    let base = hello.drv_path().expect("a path").to_basename();
    let value = nix_derivation::json::to_value(&hello).expect("JSON");
    let document = json!({ "derivations": { base: value }, "roots": [] });
    fs::write(place.path().join("roots.json"), document.to_string()).expect("written");
    for file in ["none.json", "braces.json", "roots.json", "none.json#hello"] {
        let told = refused(&place, file);
        let file = file.trim_end_matches("#hello");
        let expected = format!("error: nothing to build in `{file}`\n");
        assert_eq!(told, expected);
    }
}

#[test]
fn a_mistyped_target_is_said_before_anybody_is_asked() {
    let place = Place::with(&[]);
    fs::create_dir(place.path().join("examples")).expect("made");
    let help = "help:  as a flake reference it would need Nix on this host; ";
    for (target, error) in [
        ("nowhere", "there is no file `nowhere`"),
        ("flake#hello", "there is no file `flake#hello`"),
        (
            "examples",
            "`examples` is neither a derivation nor a file with some",
        ),
    ] {
        let told = refused(&place, target);
        let expected = format!("error: {error}\n{help}");
        assert!(told.starts_with(&expected), "{told}");
    }
    let told = refused(&place, "-f default.nix");
    assert!(
        told.starts_with("error: cannot run `nix-instantiate`\n"),
        "{told}"
    );
}

#[test]
fn an_output_that_is_not_there_is_a_mistake_of_the_request() {
    let home = Home::new();
    let hello = simple("hello", "echo hello > $out");
    home.document("hello.json", &[&hello]);
    let told = home.run("build hello.json#hello^doc");
    assert_eq!(
        told,
        "exit 2\n--- messages\nerror: cannot understand `hello.json`\n\
         cause: `hello` has no output `doc`\nhelp:  it has `out`\n"
    );
    if !has_sandbox() || !cfg!(target_arch = "x86_64") {
        return;
    }
    let told = home.run("build hello.json --no-link");
    assert!(told.starts_with("exit 0\n"), "{told}");
    let drv = StoreDir::default().render_path(&hello.drv_path().expect("a path"));
    let told = home.run(&format!("build {drv}^out,doc"));
    assert_eq!(
        told,
        "exit 2\n--- messages\nerror: `hello` has no output `doc`\nhelp:  it has `out`\n"
    );
}

#[test]
fn a_file_where_a_link_is_to_be_is_found_before_the_build() {
    let home = Home::new();
    let hello = simple("hello", "echo hello > $out");
    home.document("hello.json", &[&hello]);
    fs::write(home.path().join("file"), "mine").expect("written");
    let told = home.run("build hello.json -o file");
    assert_eq!(
        told,
        "exit 2\n--- messages\nerror: `DIR/file` is there and is no link\n\
         help:  name another by `--out-link`, or none by `--no-link`\n"
    );
}

#[test]
fn outputs_are_told_without_the_link_that_could_not_be_made() {
    if !has_sandbox() || !cfg!(target_arch = "x86_64") {
        return;
    }
    let home = Home::new();
    home.document("hello.json", &[&simple("hello", "echo hello > $out")]);
    // Short enough for a file, but not for the one beside it that replaces it.
    let name = "n".repeat(250);
    let told = home.run(&format!("build hello.json -o {name}"));
    assert!(told.starts_with("exit 3\nDIR/home/nix/store/"), "{told}");
    let error = format!("error: cannot make the link `DIR/{name}`\n");
    assert!(told.contains(&error), "{told}");
}

#[test]
fn the_build_directory_of_a_failed_build_is_kept_where_it_is_told() {
    if !has_sandbox() || !cfg!(target_arch = "x86_64") {
        return;
    }
    let home = Home::new();
    let bad = simple("bad", "echo half > file; exit 3");
    home.document("bad.json", &[&bad]);
    let told = home.run("build bad.json");
    assert!(!told.contains("is kept"), "{told}");
    let told = home.run("build bad.json -K");
    assert!(told.starts_with("exit 1\n"), "{told}");
    let line = "note:  its build directory is kept on `here`: `DIR/";
    let (_, rest) = told.split_once(line).expect("a note");
    let (kept, _) = rest.split_once('`').expect("its end");
    let file = home.path().join(kept).join("file");
    assert_eq!(fs::read_to_string(file).expect("kept"), "half\n");
    let told = home.run("build bad.json --keep-failed --json");
    let field = "\"kept-dir\":\"DIR/";
    assert!(told.contains(field), "no `{field}` in {told}");
}

#[test]
fn what_no_machine_could_build_is_told_with_advice() {
    let home = Home::new();
    let mut foreign = DerivationBuilder::new("foreign", "riscv64-linux", "/bin/sh");
    foreign = foreign.input_addressed_output("out");
    let foreign = foreign.build().expect("a derivation").into_derivation();
    home.document("foreign.json", &[&foreign]);
    let told = home.run("build foreign.json");
    assert!(told.starts_with("exit 1\n"), "{told}");
    let help = "\nhelp:  configure a machine for `riscv64-linux`\n";
    assert!(told.contains(help), "{told}");
}
