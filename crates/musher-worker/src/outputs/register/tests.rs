//! What build programs leave behind, in a real store, and what becomes of it.

mod addressed;
mod again;
mod bench;
mod rules;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use expect_test::expect;
use musher_protocol::types::BuildStatus;

use self::bench::{Build, INPUT_ADDRESSED};
use crate::outputs::known_paths;

#[test]
fn outputs_are_registered_with_what_they_refer_to() {
    let build = Build::new(&[
        ("dev", INPUT_ADDRESSED),
        ("lib", INPUT_ADDRESSED),
        ("out", INPUT_ADDRESSED),
    ])
    .wrote("out", "bin/run", "{lib}/lib.so {input}")
    .wrote("lib", "lib.so", "here: {lib}")
    .wrote("dev", "", "plain");
    let paths = build.accepted(expect![[r#"
        dev ->
        lib -> lib
        out -> input lib
    "#]]);
    assert_eq!(paths, known_paths(&build.derivation));
    let real = build.store.real_path(&paths["out"]);
    let found = fs::symlink_metadata(real.join("bin/run")).unwrap();
    assert_eq!((found.mode() & 0o7777, found.mtime()), (0o444, 1));
}

#[test]
fn an_output_may_be_a_link_and_is_not_followed() {
    let build = Build::new(&[("out", INPUT_ADDRESSED)]);
    let secret = build.scratch.path().join("secret");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("file"), "").unwrap();
    fs::set_permissions(&secret, PermissionsExt::from_mode(0o700)).unwrap();
    symlink(&secret, build.at("out")).unwrap();
    let paths = build.accepted(expect![[r#"
        out ->
    "#]]);
    let real = build.store.real_path(&paths["out"]);
    assert_eq!(fs::read_link(real).unwrap(), secret);
    assert_eq!(fs::metadata(&secret).unwrap().mode() & 0o7777, 0o700);
}

#[test]
fn what_is_missing_or_open_to_others_is_rejected() {
    let build = Build::new(&[("out", INPUT_ADDRESSED)]);
    build.rejected(expect![[r#"
        builder for '/nix/store/dc04vv14dak1c1r48qa0m23vr9jy8sm0-pkg.drv' failed to produce output path for output 'out' at 'room/0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-pkg'"#]]);
    let build = build.wrote("out", "", "");
    fs::set_permissions(build.at("out"), PermissionsExt::from_mode(0o664)).unwrap();
    let rejection = build.rejected(expect![
        "suspicious ownership or permission on 'room/0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-pkg' for output 'out'; rejecting this build output"
    ]);
    assert_eq!(rejection.status(), BuildStatus::OutputRejected);
    assert_eq!(build.valid_outputs(), 0);
}

#[test]
fn modes_are_canonical_whatever_they_were() {
    let build = Build::new(&[("out", INPUT_ADDRESSED)])
        .wrote("out", "closed/file", "")
        .wrote("out", "setuid", "");
    let mode = |file: &str, mode| {
        fs::set_permissions(build.at("out").join(file), PermissionsExt::from_mode(mode)).unwrap();
    };
    mode("setuid", 0o4755);
    mode("closed/file", 0o000);
    mode("closed", 0o000);
    let paths = build.accepted(expect![[r#"
        out ->
    "#]]);
    let real = build.store.real_path(&paths["out"]);
    let mode = |file: &str| fs::metadata(real.join(file)).unwrap().mode() & 0o7777;
    assert_eq!(
        (mode("setuid"), mode("closed"), mode("closed/file")),
        (0o555, 0o555, 0o444)
    );
}

#[test]
fn sockets_and_trees_that_no_nar_holds_are_rejected() {
    let build = Build::new(&[("out", INPUT_ADDRESSED)]).wrote("out", "file", "");
    let _socket = std::os::unix::net::UnixListener::bind(build.at("out").join("socket")).unwrap();
    build.rejected(expect![
        "file 'room/0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-pkg/socket' has an unsupported type"
    ]);
    let deep = "d/".repeat(70);
    let build = Build::new(&[("out", INPUT_ADDRESSED)]).wrote("out", &format!("{deep}f"), "");
    build.rejected(expect![[r#"
        output 'out' of '/nix/store/dc04vv14dak1c1r48qa0m23vr9jy8sm0-pkg.drv' cannot be written as a NAR: its directories lie too deep in each other"#]]);
}

#[test]
fn outputs_in_a_circle_are_rejected() {
    let build = Build::new(&[("a", INPUT_ADDRESSED), ("b", INPUT_ADDRESSED)])
        .wrote("a", "", "{b}")
        .wrote("b", "", "{a}");
    build.rejected(expect![
        "cycle detected in build of '/nix/store/dc04vv14dak1c1r48qa0m23vr9jy8sm0-pkg.drv' in the references of output 'a' from output 'b'"
    ]);
}
