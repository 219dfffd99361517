//! Outputs whose paths follow from what they hold, or were said to hold.

use std::collections::BTreeSet;
use std::fs;

use expect_test::expect;
use musher_store::local::RealisationKey;

use super::bench::{Build, FLOATING, path};
use crate::outputs::{Rejection, Verdict};

#[test]
fn floating_outputs_are_addressed_by_what_they_hold() {
    let build = || {
        Build::new(&[("lib", FLOATING), ("out", FLOATING)])
            .wrote("lib", "lib.so", "I am {lib}, from {input}")
            .wrote("out", "run", "{lib} {out}")
    };
    let first = build();
    let paths = first.accepted(expect![[r#"
        lib -> input lib
        out -> lib out
    "#]]);
    // Each says its own name now, and that of the other.
    let read = |file: &str, output: &str| {
        fs::read_to_string(first.store.real_path(&paths[output]).join(file)).unwrap()
    };
    let rendered = |output: &str| first.store.store_dir().render_path(&paths[output]);
    assert_eq!(
        read("run", "out"),
        format!("{} {}", rendered("lib"), rendered("out"))
    );
    assert!(read("lib.so", "lib").starts_with(&format!("I am {},", rendered("lib"))));
    // Under another name during the build they would have had the same.
    let mut second = build();
    second.drv_path = path("ddddddddddddddddddddddddddddddd0-pkg.drv");
    for output in ["lib", "out"] {
        crate::outputs::remove_tree(&second.at(output)).unwrap();
    }
    second.place(&BTreeSet::new());
    let second = second
        .wrote("lib", "lib.so", "I am {lib}, from {input}")
        .wrote("out", "run", "{lib} {out}");
    assert_eq!(second.paths(), paths);
}

#[test]
fn realisations_are_known_by_hash_and_by_path() {
    let build = Build::new(&[("out", FLOATING)]).wrote("out", "", "x");
    let Verdict::Accepted(outputs) = build.finish() else {
        panic!("rejected");
    };
    let hash = outputs["out"].drv_hash.clone().unwrap();
    for key in [
        RealisationKey::Hash(hash),
        RealisationKey::Path(build.drv_path.clone()),
    ] {
        let known = build.store.realisation(&key, "out").unwrap().unwrap();
        assert_eq!(known.path, outputs["out"].path);
    }
}

#[test]
fn what_somebody_else_made_is_taken() {
    let build = Build::new(&[("out", FLOATING)]).wrote("out", "", "x");
    let path = build.paths();
    let registered = build.store.path_info(&path["out"]).unwrap();
    let build = build.wrote("out", "", "x");
    assert_eq!(build.paths(), path);
    assert_eq!(build.store.path_info(&path["out"]).unwrap(), registered);
}

const HELLO: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

#[test]
fn a_fixed_output_has_the_hash_it_was_said_to_have() {
    let build = Build::new(&[("out", ("sha256", HELLO))]).wrote("out", "", "hello\n");
    build.accepted(expect![[r#"
        out ->
    "#]]);
}

#[test]
fn another_hash_is_rejected_but_kept() {
    let build = Build::new(&[("out", ("sha256", HELLO))]).wrote("out", "", "bye\n");
    build.rejected(expect![[r#"
        hash mismatch in fixed-output derivation '/nix/store/dc04vv14dak1c1r48qa0m23vr9jy8sm0-pkg.drv':
          specified: sha256-WJG1tSLV3whtD/CxEPvZ0hu0/HFjrzTQgoai6Eb2vgM=
             got:    sha256-q8b9WV/AedMRTUtxpNhLHR0Ped8ecPiBMhLypl2JFt8="#]]);
    assert_eq!(build.valid_outputs(), 1);
}

#[test]
fn a_fixed_output_is_a_copy_that_nobody_else_can_write_to() {
    let build = Build::new(&[("out", ("sha256", HELLO))]).wrote("out", "", "hello\n");
    let mut kept_open = fs::OpenOptions::new()
        .write(true)
        .open(build.at("out"))
        .unwrap();
    let paths = build.paths();
    std::io::Write::write_all(&mut kept_open, b"later").unwrap();
    let real = build.store.real_path(&paths["out"]);
    assert_eq!(fs::read(real).unwrap(), b"hello\n");
}

#[test]
fn flat_outputs_are_plain_files_without_references() {
    for output in [("sha256", HELLO), ("text:sha256", ""), ("sha1", "")] {
        let build = Build::new(&[("out", output)]).wrote("out", "file", "hello\n");
        let rejection = build.finish();
        assert!(
            matches!(rejection, Verdict::Rejected(Rejection::NotFlat { .. })),
            "{rejection:?}"
        );
    }
    let build = Build::new(&[("out", ("sha256", ""))]).wrote("out", "", "{input}");
    build.rejected(expect![[r#"
        fixed output derivation 'pkg' is not allowed to refer to other store paths.
        You may need to use the 'unsafeDiscardReferences' derivation attribute, see the manual for more details."#]]);
    let build = Build::new(&[("out", ("text:sha256", ""))]).wrote("out", "", "{input}");
    build.accepted(expect![[r#"
        out -> input
    "#]]);
}

#[test]
fn every_way_to_address_is_known() {
    for algorithm in [
        "md5",
        "sha1",
        "sha256",
        "sha512",
        "blake3",
        "r:md5",
        "r:sha1",
        "r:sha256",
        "r:sha512",
        "r:blake3",
        "text:sha256",
        "git:sha1",
        "git:sha256",
    ] {
        let build = Build::new(&[("out", (algorithm, ""))]).wrote("out", "", "hello\n");
        build.paths();
    }
}
