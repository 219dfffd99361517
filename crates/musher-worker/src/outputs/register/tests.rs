//! What build programs leave behind, in a real store, and what becomes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use expect_test::{Expect, expect};
use musher_protocol::types::{BasicDerivation, BasicOutput, BuildMode, BuildStatus};
use musher_store::local::{LocalOptions, LocalStore, RealisationKey};
use nix_derivation::StorePath;
use tempfile::TempDir;

use super::register_outputs;
use crate::outputs::{
    Finished, OutputRules, Rejection, ScratchOutput, Verdict, known_paths, scratch_paths,
};

/// A store with one input in it, and a build whose outputs lie beside it.
struct Build {
    scratch: TempDir,
    store: LocalStore,
    drv_path: StorePath,
    derivation: BasicDerivation,
    outputs: BTreeMap<String, ScratchOutput>,
    input: StorePath,
    mode: BuildMode,
    keep_failed: bool,
}

const INPUT_ADDRESSED: (&str, &str) = ("", "");
const FLOATING: (&str, &str) = ("r:sha256", "");

impl Build {
    /// A build of outputs, each `(algorithm, hash)` as in a derivation.
    fn new(outputs: &[(&str, (&str, &str))]) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let store = LocalStore::open(LocalOptions::below(scratch.path().join("root"))).unwrap();
        let drv_path = path("dc04vv14dak1c1r48qa0m23vr9jy8sm0-pkg.drv");
        let input = path("zc842j0rz61mjsp3h3wp5ly71ak6qgdn-input");
        let specs = outputs.iter().enumerate();
        let specs = specs.map(|(index, (name, (hash_algo, hash)))| {
            let known = path(&format!("{}-pkg{}", digits(index), suffix(name)));
            let output = BasicOutput {
                path: hash_algo.is_empty().then_some(known),
                hash_algo: (*hash_algo).to_owned(),
                hash: (*hash).to_owned(),
            };
            ((*name).to_owned(), output)
        });
        let derivation = BasicDerivation {
            outputs: specs.collect(),
            input_sources: BTreeSet::from([input.clone()]),
            system: "x86_64-linux".to_owned(),
            builder: "/bin/sh".to_owned(),
            args: Vec::new(),
            env: BTreeMap::new(),
        };
        let mut build = Self {
            scratch,
            store,
            drv_path,
            derivation,
            outputs: BTreeMap::new(),
            input,
            mode: BuildMode::Normal,
            keep_failed: false,
        };
        build.place(&BTreeSet::new());
        build.add_input();
        build
    }

    /// Says where outputs are made; not at the paths in `occupied`.
    fn place(&mut self, occupied: &BTreeSet<StorePath>) {
        let store_dir = self.store.store_dir();
        let paths = scratch_paths(store_dir, &self.drv_path, &self.derivation, occupied).unwrap();
        let room = self.scratch.path().join("room");
        fs::create_dir_all(&room).unwrap();
        let outputs = paths.into_iter().map(|(name, path)| {
            let location = room.join(path.to_basename());
            (name, ScratchOutput { path, location })
        });
        self.outputs = outputs.collect();
    }

    fn add_input(&self) {
        let real = self.store.real_path(&self.input);
        fs::write(&real, "input").unwrap();
        let nar = nix_archive::nar::hash_regular(b"input", false);
        let info = musher_protocol::types::PathInfo {
            path: self.input.clone(),
            deriver: None,
            nar_hash: musher_protocol::types::NarHash(nar.sha256),
            nar_size: nar.size,
            references: BTreeSet::new(),
            registration_time: 0,
            ultimate: true,
            signatures: BTreeSet::new(),
            ca: None,
        };
        self.store.register(&[info]).unwrap();
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        let value = self.filled(value);
        self.derivation
            .env
            .insert(name.to_owned(), value.into_bytes());
        self
    }

    /// Where `output` lies.
    fn at(&self, output: &str) -> PathBuf {
        self.outputs[output].location.clone()
    }

    /// Has the build program write `text` to `output`, at `file` in it if that
    /// is not empty. `{name}` is the path of an output as the program knows
    /// it, `{input}` that of the input.
    fn wrote(self, output: &str, file: &str, text: &str) -> Self {
        let mut path = self.at(output);
        if !file.is_empty() {
            path.push(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
        }
        fs::write(&path, self.filled(text)).unwrap();
        self
    }

    fn filled(&self, text: &str) -> String {
        let store_dir = self.store.store_dir();
        let mut text = text.replace("{input}", &store_dir.render_path(&self.input));
        for (name, output) in &self.outputs {
            let path = store_dir.render_path(&output.path);
            text = text.replace(&format!("{{{name}}}"), &path);
        }
        text
    }

    fn finish(&self) -> Verdict {
        let rules = OutputRules::of(&self.derivation, self.store.store_dir()).unwrap();
        let roots = self.store.temp_roots().unwrap();
        let finished = Finished {
            drv_path: &self.drv_path,
            derivation: &self.derivation,
            rules: &rules,
            scratch: &self.outputs,
            inputs: &BTreeSet::from([self.input.clone()]),
            roots: &roots,
            mode: self.mode,
            keep_failed: self.keep_failed,
            owners: None,
        };
        register_outputs(&self.store, &finished).unwrap()
    }

    /// The outputs' paths, all of them being accepted.
    #[track_caller]
    fn paths(&self) -> BTreeMap<String, StorePath> {
        match self.finish() {
            Verdict::Accepted(outputs) => outputs
                .into_iter()
                .map(|(name, built)| (name, built.path))
                .collect(),
            Verdict::Rejected(rejection) => panic!("rejected: {rejection}"),
        }
    }

    /// Finds every output accepted, registered as it is on disk, and with the
    /// references `expected`: `out -> dev input`.
    #[track_caller]
    fn accepted(&self, expected: Expect) -> BTreeMap<String, StorePath> {
        let paths = self.paths();
        let mut names: BTreeMap<&StorePath, &str> = paths
            .iter()
            .map(|(name, path)| (path, name.as_str()))
            .collect();
        names.insert(&self.input, "input");
        let mut shown = String::new();
        for (name, path) in &paths {
            let info = self.store.path_info(path).unwrap().unwrap();
            let real = self.store.real_path(path);
            let nar = nix_archive::nar::hash_path(&real, nix_archive::nar::CaseHack::Disabled);
            assert_eq!(nar.unwrap().sha256, info.nar_hash.0, "{name}");
            assert!(info.ultimate && info.deriver.as_ref() == Some(&self.drv_path));
            let references: BTreeSet<&str> =
                info.references.iter().map(|path| names[path]).collect();
            let references = Vec::from_iter(references);
            shown += format!("{name} -> {}", references.join(" ")).trim_end();
            shown += "\n";
        }
        expected.assert_eq(&shown);
        self.nothing_is_left();
        paths
    }

    #[track_caller]
    fn rejected(&self, expected: Expect) -> Rejection {
        let Verdict::Rejected(rejection) = self.finish() else {
            panic!("accepted");
        };
        let scratch = format!("{}/", self.scratch.path().display());
        expected.assert_eq(&rejection.to_string().replace(&scratch, ""));
        self.nothing_is_left();
        rejection
    }

    /// No place of ours is left in the store directory.
    #[track_caller]
    fn nothing_is_left(&self) {
        for entry in fs::read_dir(self.store.real_store_dir()).unwrap() {
            let name = entry.unwrap().file_name();
            assert!(!name.to_str().unwrap().starts_with("tmp-"), "{name:?}");
        }
    }

    fn valid_outputs(&self) -> usize {
        self.store.all_valid_paths().unwrap().len() - 1
    }
}

fn path(basename: &str) -> StorePath {
    StorePath::from_basename(basename.as_bytes()).unwrap()
}

/// 32 digits of which the first tells `index`.
fn digits(index: usize) -> String {
    format!("{index}{}", "a".repeat(31))
}

fn suffix(output: &str) -> String {
    match output {
        "out" => String::new(),
        other => format!("-{other}"),
    }
}

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
