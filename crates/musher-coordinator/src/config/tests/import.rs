//! Reading machine tables into `musher.toml`: `musher machine import`.

use std::path::Path;

use expect_test::{Expect, expect};

use crate::config::nix_machines::{Included, parse};
use crate::config::{Config, import_machines};

/// `text` after the import of `machines`, or why there was none. What comes out
/// is a configuration with the same machines.
#[track_caller]
fn check(text: &str, machines: &str, expected: &Expect) {
    let read = |path: &Path| {
        Ok(Some(Included {
            identity: path.to_path_buf(),
            text: machines.to_owned(),
        }))
    };
    let imported = parse(Path::new("machines"), "x86_64-linux", &read)
        .expect("machines")
        .expect("a file");
    let file = Path::new("musher.toml");
    let existing = Config::parse(text, file, "x86_64-linux").expect("a configuration");
    let seen = match import_machines(text, file, existing.machines(), &imported) {
        Ok(text) => {
            let after = Config::parse(&text, file, "other").expect("a configuration");
            for machine in &imported {
                let mut same = after.machine(machine.name.as_str()).expect("it").clone();
                same.origin = machine.origin.clone();
                assert_eq!(&same, machine);
            }
            text
        }
        Err(error) => format!("{error}; {}", error.help().unwrap_or_default()),
    };
    expected.assert_eq(&seen);
}

const KEY: &str = "c3NoLWVkMjU1MTkgQUFBQQo=";

#[test]
fn tables_are_added_behind_what_is_there() {
    let machines = format!(
        "ssh://me@h:22?compress=true&remote-program=/opt/nix%20--x x86_64-linux,i686-linux \
         /key 8 1.5 kvm big {KEY}\nssh-ng://g"
    );
    check(
        "",
        &machines,
        &expect![[r#"
        [[machine]]
        name = "h"
        connect = "ssh://me@h:22?compress=true"
        kind = "nix"
        systems = ["i686-linux", "x86_64-linux"]
        max-jobs = 8
        speed-factor = 1.5
        supported-features = ["kvm"]
        mandatory-features = ["big"]
        ssh-key = "/key"
        public-host-key = "c3NoLWVkMjU1MTkgQUFBQQo="
        remote-program = "/opt/nix --x"

        [[machine]]
        name = "g"
        connect = "ssh-ng://g"
        systems = ["x86_64-linux"]
    "#]],
    );
    check(
        "# ours\ntimeout = 1 # short\n\n[[machine]] # first\nname = \"a\"\nconnect = 'ssh://a'\n",
        "b",
        &expect![[r##"
            # ours
            timeout = 1 # short

            [[machine]] # first
            name = "a"
            connect = 'ssh://a'

            [[machine]]
            name = "b"
            connect = "ssh://b"
            kind = "nix"
            systems = ["x86_64-linux"]
        "##]],
    );
    check(
        "machine = [{ name = \"a\", connect = \"local\" }]\ntimeout = 1\n",
        "b",
        &expect![[r#"
            machine = [{ name = "a", connect = "local" }, { name = "b", connect = "ssh://b", kind = "nix", systems = ["x86_64-linux"] }]
            timeout = 1
        "#]],
    );
}

#[test]
fn what_cannot_be_taken_over_is_refused() {
    check(
        "[[machine]]\nname = \"b\"\nconnect = \"ssh://x\"",
        "a\nb",
        &expect![
            "machines:2:1: machine `b` is already defined at musher.toml:1:1; remove one of the two; nothing has been imported"
        ],
    );
    check(
        "",
        "a\n daemon",
        &expect![
            "machines:2:2: machine `daemon` is not reached by ssh; this host builds for others by `max-jobs` in its own nix.conf"
        ],
    );
}
