//! Plans as text, and their application in a directory.

use std::fs;
use std::path::Path;

use expect_test::{Expect, expect};

use super::*;

const TWO_CLASSES: &str = r#"
    [[machine]]
    name = "a"
    connect = "ssh-ng://a"
    systems = ["x86_64-linux"]
    max-jobs = 4

    [[machine]]
    name = "b"
    connect = "ssh-ng://b"
    systems = ["x86_64-linux"]
    max-jobs = 12
    speed-factor = 2.5

    [[machine]]
    name = "big"
    connect = "ssh://big"
    kind = "nix"
    systems = ["x86_64-linux", "i686-linux"]
    max-jobs = 8
    supported-features = ["kvm"]
    mandatory-features = ["big-parallel"]

    [[machine]]
    name = "worker"
    connect = "local"
    kind = "nix"
"#;

fn config(text: &str) -> Config {
    Config::parse(text, Path::new("musher.toml"), "x86_64-linux").expect("a configuration")
}

fn entrance() -> Entrance {
    Entrance::new(Path::new("/usr/bin/musher"), &[]).expect("an entrance")
}

fn files(dir: &Path) -> SetupFiles {
    SetupFiles {
        nix_conf: dir.join("nix.conf"),
        builders: dir.join("musher-builders"),
    }
}

/// The `nix.conf` that comes of `text`, with the notes behind it.
#[track_caller]
fn check_nix_conf(text: &str, expected: &Expect) {
    let current = |text: &str| CurrentFiles {
        nix_conf: Some(text.to_owned()),
        ..CurrentFiles::default()
    };
    let plan_of = |text: &str| {
        let config = config("machine = [{ name = \"a\", connect = \"ssh-ng://a\" }]");
        plan(
            &config,
            &entrance(),
            &files(Path::new("/etc/nix")),
            current(text),
        )
        .expect("a plan")
    };
    let first = plan_of(text);
    let again = plan_of(&first.nix_conf.after);
    assert!(!again.nix_conf.is_needed(), "a second time changes nothing");
    let notes: String = first
        .notes
        .iter()
        .map(|note| format!("{note:?}\n"))
        .collect();
    expected.assert_eq(&format!("{}---\n{notes}", first.nix_conf.after));
}

#[test]
fn each_class_has_a_line() {
    let plan = plan(
        &config(TWO_CLASSES),
        &entrance(),
        &files(Path::new("/etc/nix")),
        CurrentFiles::default(),
    )
    .expect("a plan");
    expect![[r#"
        # Machines by what they can build. Written by musher, also when machines
        # come and go: changes made here are lost.
        ssh-ng://localhost?remote-program=/usr/bin/musher%20serve%20--class%20i686-linux-74f1cfa2 i686-linux,x86_64-linux - 72 1 big-parallel,kvm big-parallel -
        ssh-ng://localhost?remote-program=/usr/bin/musher%20serve%20--class%20x86_64-linux x86_64-linux - 128 2 - - -
    "#]].assert_eq(&plan.builders.after);
    expect![[r#"
        # Set by `musher setup`.
        builders = @/etc/nix/musher-builders
        builders-use-substitutes = true
        max-jobs = 0
    "#]]
    .assert_eq(&plan.nix_conf.after);
    expect![[r#"
        [
            Skipped(
                WrongWay {
                    name: MachineName(
                        "worker",
                    ),
                    kind: Nix,
                    connect: "local",
                },
            ),
        ]"#]]
    .assert_eq(&format!("{:#?}", plan.notes));
}

#[test]
fn overrides_are_part_of_the_url() {
    let entrance = Entrance::new(
        Path::new("/opt/a+b/musher"),
        &["--config", "/tmp/50%/musher.toml", "--run", "/tmp/run"],
    )
    .expect("an entrance");
    expect!["ssh-ng://localhost?remote-program=/opt/a%2Bb/musher%20serve%20--config%20/tmp/50%25/musher.toml%20--run%20/tmp/run%20--class%20big"].assert_eq(&entrance.url("big"));
}

#[test]
fn words_that_would_fall_apart_are_refused() {
    let new = |program: &str, options: &[&str]| {
        Entrance::new(Path::new(program), options).map_err(|error| error.to_string())
    };
    expect!["Nix cannot be given the word `/my programs/musher`: it separates by blanks, and may ask a shell"]
        .assert_eq(&new("/my programs/musher", &[]).expect_err("refused"));
    expect!["Nix needs the absolute path of musher, not `musher`"]
        .assert_eq(&new("musher", &[]).expect_err("refused"));
    assert!(new("/bin/musher", &["--run", ""]).is_err());
    assert!(new("/bin/musher", &["--run", "/tmp/$(x)"]).is_err());
    let long = format!("/{}", "x".repeat(150));
    expect!["the command for Nix is 12 bytes too long: Nix makes a file name of it"]
        .assert_eq(&new("/bin/musher", &["--run", &long]).expect_err("refused"));
}

#[test]
fn an_empty_nix_conf_gets_a_block() {
    check_nix_conf(
        "",
        &expect![[r#"
        # Set by `musher setup`.
        builders = @/etc/nix/musher-builders
        builders-use-substitutes = true
        max-jobs = 0
        ---
    "#]],
    );
    check_nix_conf(
        "cores = 4",
        &expect![[r#"
        cores = 4

        # Set by `musher setup`.
        builders = @/etc/nix/musher-builders
        builders-use-substitutes = true
        max-jobs = 0
        ---
    "#]],
    );
}

#[test]
fn existing_settings_are_replaced_in_place() {
    check_nix_conf(
        "# mine\nbuild-max-jobs = 2\nmax-jobs = auto  # all of them\ncores = 2\n\
         \tbuilders = ssh://x - - 4 ; ssh://y\nbuilders-use-substitutes = true\n",
        &expect![[r##"
            # mine
            max-jobs = 0 # all of them
            cores = 2
            	builders = @/etc/nix/musher-builders
            builders-use-substitutes = true
            ---
            BuildersReplaced { value: "ssh://x - - 4 ; ssh://y" }
        "##]],
    );
}

#[test]
fn later_includes_are_mentioned() {
    check_nix_conf(
        "include before.conf\nmax-jobs = 1\n!include nix.custom.conf\n",
        &expect![[r#"
            include before.conf
            max-jobs = 0
            !include nix.custom.conf

            # Set by `musher setup`.
            builders = @/etc/nix/musher-builders
            builders-use-substitutes = true
            ---
            IncludedLater { files: ["nix.custom.conf"] }
        "#]],
    );
}

#[test]
fn machines_that_nix_will_forget_are_mentioned() {
    let current = CurrentFiles {
        has_machines: true,
        ..CurrentFiles::default()
    };
    let files = files(Path::new("/etc/nix"));
    let plan = plan(&config(TWO_CLASSES), &entrance(), &files, current).expect("a plan");
    let path = PathBuf::from("/etc/nix/machines");
    assert!(plan.notes.contains(&SetupNote::MachinesForgotten { path }));
}

#[test]
fn without_machines_nothing_is_planned() {
    let plan_of = |text| {
        plan(
            &config(text),
            &entrance(),
            &files(Path::new("/etc/nix")),
            CurrentFiles::default(),
        )
    };
    let none = plan_of("").expect_err("refused");
    expect!["no machine to build on; add a `[[machine]]` to musher.toml, or import Nix's with `musher machine import /etc/nix/machines --write`"].assert_eq(&format!("{none}; {}", none.help().unwrap_or_default()));
    let worker = plan_of("machine = [{ name = \"a\", connect = \"local\", kind = \"nix\" }]")
        .expect_err("refused");
    assert!(std::error::Error::source(&worker).is_some());
}

#[test]
fn a_plan_is_applied_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let files = files(dir.path());
    fs::write(&files.nix_conf, "cores = 4\n").expect("written");
    let plan_now = || {
        let current = CurrentFiles::read(&files, Path::new("/nix/store")).expect("read");
        plan(&config(TWO_CLASSES), &entrance(), &files, current).expect("a plan")
    };
    assert_eq!(plan_now().apply().expect("applied").len(), 2);
    assert!(plan_now().apply().expect("applied").is_empty());
    let classes = offered_classes(config(TWO_CLASSES).machines());
    let rewritten = write_builders_file(&files.builders, &classes, &entrance());
    assert!(
        !rewritten.expect("compared"),
        "setup and daemon write the same"
    );
}

#[test]
fn a_generated_nix_conf_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = dir.path().join("store");
    fs::create_dir(&store).expect("made");
    fs::write(store.join("nix.conf"), "").expect("written");
    let files = files(dir.path());
    std::os::unix::fs::symlink(store.join("nix.conf"), &files.nix_conf).expect("linked");
    let store = fs::canonicalize(store).expect("there");
    let error = CurrentFiles::read(&files, &store).expect_err("refused");
    assert!(error.help().is_some_and(|help| help.contains("NixOS")));
}
