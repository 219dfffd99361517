//! Outputs that are there already: those that stay, are compared or replaced.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use expect_test::expect;
use musher_protocol::types::{BuildMode, BuildStatus};
use nix_derivation::StorePath;

use super::bench::{Build, FLOATING, INPUT_ADDRESSED};
use crate::outputs::{Rejection, Verdict};

#[test]
fn what_is_valid_stays_and_the_rest_refers_to_it() {
    let mut build = Build::new(&[("lib", INPUT_ADDRESSED), ("out", INPUT_ADDRESSED)])
        .wrote("lib", "", "old")
        .wrote("out", "", "{lib}");
    let paths = build.paths();
    // As if `out` had been collected; and built again without a sandbox.
    let (lib, out) = (&paths["lib"], &paths["out"]);
    let fresh = Build::new(&[("lib", INPUT_ADDRESSED), ("out", INPUT_ADDRESSED)]);
    let info = build.store.path_info(lib).unwrap().unwrap();
    fs::rename(build.store.real_path(lib), fresh.store.real_path(lib)).unwrap();
    fresh.store.register(&[info]).unwrap();
    build = fresh;
    build.place(&BTreeSet::from([lib.clone()]));
    assert_ne!(build.outputs["lib"].path, *lib);
    let build = build.wrote("lib", "", "new").wrote("out", "", "{lib}");
    assert_eq!(build.paths(), paths);
    let real = |path: &StorePath| build.store.real_path(path);
    assert_eq!(fs::read(real(lib)).unwrap(), b"old");
    let rendered = build.store.store_dir().render_path(lib);
    assert_eq!(fs::read_to_string(real(out)).unwrap(), rendered);
}

#[test]
fn a_second_build_is_compared() {
    let mut build = Build::new(&[("out", INPUT_ADDRESSED)]).wrote("out", "", "{out} 1");
    build.mode = BuildMode::Check;
    build.rejected(expect![
        "some outputs of '/nix/store/dc04vv14dak1c1r48qa0m23vr9jy8sm0-pkg.drv' are not valid, so checking is not possible"
    ]);
    build.mode = BuildMode::Normal;
    let paths = build.paths();

    build.mode = BuildMode::Check;
    // Without a sandbox it has another name, which must not show.
    build.place(&BTreeSet::from([paths["out"].clone()]));
    let build = build.wrote("out", "", "{out} 1");
    assert_eq!(build.paths(), paths);

    let mut build = build.wrote("out", "", "{out} 2");
    let rejection = build.rejected(expect![
        "derivation '/nix/store/dc04vv14dak1c1r48qa0m23vr9jy8sm0-pkg.drv' may not be deterministic: output 'root/nix/store/0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-pkg' differs"
    ]);
    assert_eq!(rejection.status(), BuildStatus::NotDeterministic);
    build.keep_failed = true;
    let build = build.wrote("out", "", "{out} 2");
    build.rejected(expect![
        "derivation '/nix/store/dc04vv14dak1c1r48qa0m23vr9jy8sm0-pkg.drv' may not be deterministic: output 'root/nix/store/0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-pkg' differs from 'root/nix/store/0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-pkg.check'"
    ]);
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    let real = build.store.real_path(&paths["out"]);
    assert!(read(&real).ends_with(" 1"));
    assert!(read(&PathBuf::from(format!("{}.check", real.display()))).ends_with(" 2"));
}

#[test]
fn a_floating_output_is_compared_with_what_it_was_known_to_be() {
    let mut build = Build::new(&[("out", FLOATING)]).wrote("out", "", "1");
    build.paths();
    build.mode = BuildMode::Check;
    let build = build.wrote("out", "", "1");
    build.paths();
    let rejection = build.wrote("out", "", "2").finish();
    assert!(
        matches!(
            rejection,
            Verdict::Rejected(Rejection::NotDeterministic { .. })
        ),
        "{rejection:?}"
    );
}

#[test]
fn what_is_damaged_is_replaced_and_what_is_whole_is_not() {
    let mut build = Build::new(&[("lib", INPUT_ADDRESSED), ("out", INPUT_ADDRESSED)])
        .wrote("lib", "file", "1")
        .wrote("out", "file", "1");
    let paths = build.paths();
    let real = |build: &Build, output: &str| build.store.real_path(&paths[output]).join("file");
    let damaged = real(&build, "out");
    fs::set_permissions(&damaged, PermissionsExt::from_mode(0o644)).unwrap();
    fs::write(&damaged, "damaged").unwrap();
    build.mode = BuildMode::Repair;
    let build = build.wrote("lib", "file", "2").wrote("out", "file", "2");
    build.accepted(expect![[r#"
        lib ->
        out ->
    "#]]);
    assert_eq!(fs::read(real(&build, "lib")).unwrap(), b"1");
    assert_eq!(fs::read(real(&build, "out")).unwrap(), b"2");
}

#[test]
fn what_lies_at_the_path_without_being_valid_goes() {
    let build = Build::new(&[("out", INPUT_ADDRESSED)]).wrote("out", "file", "new");
    let real = build.store.real_path(&build.outputs["out"].path);
    fs::create_dir(&real).unwrap();
    fs::write(real.join("old"), "").unwrap();
    build.paths();
    assert!(real.join("file").exists() && !real.join("old").exists());
}
