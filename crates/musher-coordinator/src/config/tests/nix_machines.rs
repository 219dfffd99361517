//! Machines in Nix's own format: what they mean, and where each mistake is.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use expect_test::{Expect, expect};

use super::{story, summary};
use crate::config::Machine;
use crate::config::nix_machines::{Included, parse};

/// Reads `machines` among `files`, given as pairs of name and text.
fn machines(files: &[(&str, &str)]) -> Result<Vec<Machine>, String> {
    let files: BTreeMap<PathBuf, &str> = files
        .iter()
        .map(|(name, text)| (PathBuf::from(name), *text))
        .collect();
    let read = |path: &Path| -> io::Result<Option<Included>> {
        if path.ends_with("secret") {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(files.get(path).map(|text| Included {
            identity: path.to_path_buf(),
            text: (*text).to_owned(),
        }))
    };
    parse(Path::new("machines"), "x86_64-linux", &read)
        .map_err(|error| story(&error))?
        .ok_or_else(|| "no file".to_owned())
}

#[track_caller]
fn check(text: &str, expected: &Expect) {
    check_files(&[("machines", text)], expected);
}

#[track_caller]
fn check_files(files: &[(&str, &str)], expected: &Expect) {
    let seen = match machines(files) {
        Ok(machines) => machines.iter().map(summary).collect::<Vec<_>>().join("\n"),
        Err(story) => story,
    };
    expected.assert_eq(&seen);
}

#[test]
fn a_host_alone_has_every_default() {
    check(
        "scratchy",
        &expect![[
            r#"scratchy: ssh://scratchy kind=nix systems={"x86_64-linux"} jobs=1 speed=1 from=machines:1:1"#
        ]],
    );
}

#[test]
fn absent_columns_have_defaults_wherever_they_end() {
    check(
        "h s1\n h2 - /key\nh3 - - 3\nh4 - - - 4\nh5 - - - - f",
        &expect![[r#"
            h: ssh://h kind=nix systems={"s1"} jobs=1 speed=1 from=machines:1:1
            h2: ssh://h2?ssh-key=/key kind=nix systems={"x86_64-linux"} jobs=1 speed=1 from=machines:2:2
            h3: ssh://h3 kind=nix systems={"x86_64-linux"} jobs=3 speed=1 from=machines:3:1
            h4: ssh://h4 kind=nix systems={"x86_64-linux"} jobs=1 speed=4 from=machines:4:1
            h5: ssh://h5 kind=nix systems={"x86_64-linux"} jobs=1 speed=1 supported={"f"} from=machines:5:1"#]],
    );
    check(
        "h - - - - - - -",
        &expect![[
            r#"h: ssh://h kind=nix systems={"x86_64-linux"} jobs=1 speed=1 from=machines:1:1"#
        ]],
    );
}

#[test]
fn every_column_is_read() {
    check(
        "ssh-ng://me@h?remote-store=/x x86_64-linux,i686-linux /key 8 1.5 kvm,,big bench c3NoLWVkMjU1MTkgQUFBQQo= ninth",
        &expect![[
            r#"h: ssh-ng://me@h?ssh-key=/key&base64-ssh-public-host-key=c3NoLWVkMjU1MTkgQUFBQQo=&remote-store=/x kind=nix systems={"i686-linux", "x86_64-linux"} jobs=8 speed=1.5 supported={"big", "kvm"} mandatory={"bench"} from=machines:1:1"#
        ]],
    );
}

#[test]
fn lines_semicolons_and_comments_separate() {
    check(
        "# none; at all\na # b; c\n\n ;b;; c\t-\t-\t2;",
        &expect![[r#"
        a: ssh://a kind=nix systems={"x86_64-linux"} jobs=1 speed=1 from=machines:2:1
        b: ssh://b kind=nix systems={"x86_64-linux"} jobs=1 speed=1 from=machines:4:3
        c: ssh://c kind=nix systems={"x86_64-linux"} jobs=2 speed=1 from=machines:4:7"#]],
    );
}

#[test]
fn any_store_is_a_machine() {
    check(
        "daemon\nauto\n/srv/store\nlocal?root=/x\nunix:///sock",
        &expect![[r#"
            daemon: daemon kind=nix systems={"x86_64-linux"} jobs=1 speed=1 from=machines:1:1
            auto: auto kind=nix systems={"x86_64-linux"} jobs=1 speed=1 from=machines:2:1
            local: local?root=/srv/store kind=nix systems={"x86_64-linux"} jobs=1 speed=1 from=machines:3:1
            local-2: local?root=/x kind=nix systems={"x86_64-linux"} jobs=1 speed=1 from=machines:4:1
            daemon-2: unix:///sock kind=nix systems={"x86_64-linux"} jobs=1 speed=1 from=machines:5:1"#]],
    );
}

#[test]
fn machines_on_one_host_are_numbered() {
    check(
        "me@h\nssh://h:2222\nssh-ng://h\nh-2",
        &expect![[r#"
        h: ssh://me@h kind=nix systems={"x86_64-linux"} jobs=1 speed=1 from=machines:1:1
        h-2: ssh://h:2222 kind=nix systems={"x86_64-linux"} jobs=1 speed=1 from=machines:2:1
        h-3: ssh-ng://h kind=nix systems={"x86_64-linux"} jobs=1 speed=1 from=machines:3:1
        h-2-2: ssh://h-2 kind=nix systems={"x86_64-linux"} jobs=1 speed=1 from=machines:4:1"#]],
    );
}

#[test]
fn zero_speed_is_one_and_zero_jobs_stay_zero() {
    check(
        "h - - 0 0",
        &expect![[
            r#"h: ssh://h kind=nix systems={"x86_64-linux"} jobs=0 speed=1 from=machines:1:1"#
        ]],
    );
}

#[test]
fn mistakes_have_a_place() {
    check(
        "a\n  b - - eight",
        &expect![
            "error: machines:2:9: column 4 (maxJobs) cannot be `eight`: expected a whole number"
        ],
    );
    check(
        "a - - -1",
        &expect!["error: machines:1:7: column 4 (maxJobs) cannot be `-1`: expected a whole number"],
    );
    check(
        "a; b - - 1 fast",
        &expect![
            "error: machines:1:12: column 5 (speedFactor) cannot be `fast`: expected a number from 0 up"
        ],
    );
    check(
        "a - - 1 -1",
        &expect![
            "error: machines:1:9: column 5 (speedFactor) cannot be `-1`: expected a number from 0 up"
        ],
    );
    check(
        "a - - 1 nan",
        &expect![
            "error: machines:1:9: column 5 (speedFactor) cannot be `nan`: expected a number from 0 up"
        ],
    );
    check(
        "a - - 1 1 - - not/base=64",
        &expect![[r#"
            error: machines:1:15: bad host key `not/base=64`
            cause: it is not base64
            help: the value is printed on the host by `base64 -w0 /etc/ssh/ssh_host_ed25519_key.pub`"#]],
    );
    check(
        "a - - 1 1 - - c3NoLWVkMjU1MTk=",
        &expect![[r#"
            error: machines:1:15: bad host key `c3NoLWVkMjU1MTk=`
            cause: decoded it is not `TYPE KEY`, but `ssh-ed25519`
            help: the value is printed on the host by `base64 -w0 /etc/ssh/ssh_host_ed25519_key.pub`"#]],
    );
    check(
        "ssh-ng://localhost?remote-program=/usr/bin/musher%20serve%20--class%20a",
        &expect![[r#"
            error: machines:1:1: machine `ssh-ng://localhost?remote-program=/usr/bin/musher%20serve%20--class%20a` is an entrance of musher itself
            help: do not include the builders file that `musher setup` wrote for Nix"#]],
    );
}

#[test]
fn files_are_included() {
    check_files(
        &[
            ("machines", "a; @ more.d/x \n@missing\nc"),
            ("more.d/x", "@y"),
            ("more.d/y", "b\na"),
        ],
        &expect![[r#"
            a: ssh://a kind=nix systems={"x86_64-linux"} jobs=1 speed=1 from=machines:1:1
            b: ssh://b kind=nix systems={"x86_64-linux"} jobs=1 speed=1 from=more.d/y:1:1
            a-2: ssh://a kind=nix systems={"x86_64-linux"} jobs=1 speed=1 from=more.d/y:2:1
            c: ssh://c kind=nix systems={"x86_64-linux"} jobs=1 speed=1 from=machines:3:1"#]],
    );
    check_files(
        &[("machines", "@a;@a"), ("a", "h")],
        &expect![[r#"
        h: ssh://h kind=nix systems={"x86_64-linux"} jobs=1 speed=1 from=a:1:1
        h-2: ssh://h kind=nix systems={"x86_64-linux"} jobs=1 speed=1 from=a:1:1"#]],
    );
}

#[test]
fn a_file_cannot_include_itself() {
    check_files(
        &[("machines", "\n@a"), ("a", "h; @machines")],
        &expect!["error: a:1:4: `@machines` includes a file that is being read"],
    );
}

#[test]
fn an_unreadable_include_is_an_error() {
    check_files(
        &[("machines", "h\n@secret")],
        &expect![[r#"
        error: machines:2:1: cannot read `secret`
        cause: permission denied"#]],
    );
}

/// Real machine files, which are not kept in this repository.
#[test]
fn shared_vectors_are_read() {
    let shared = std::env::var_os("MUSHER_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    for (name, check) in [
        ("valid", check_valid as fn(&str)),
        ("bad_format", check_bad_format),
    ] {
        match std::fs::read_to_string(shared.join("vectors/machines").join(name)) {
            Ok(text) => check(&text),
            Err(error) => {
                use std::io::Write as _;
                let _ = writeln!(io::stderr(), "skipped vectors/machines/{name}: {error}");
            }
        }
    }
}

fn check_valid(text: &str) {
    let machines = machines(&[("machines", text)]).expect("valid machines");
    let seen: Vec<_> = machines
        .iter()
        .map(|machine| {
            let store = machine.connect.ssh().expect("a host reached by ssh");
            let has_key = store.host_key.is_some();
            (machine.max_jobs, machine.speed_factor.value(), has_key)
        })
        .collect();
    assert_eq!(seen, [(8, 1.0, false), (8, 2.0, false), (1, 2.0, true)]);
}

fn check_bad_format(text: &str) {
    check(
        text,
        &expect![
            "error: machines:1:32: column 4 (maxJobs) cannot be `eight`: expected a whole number"
        ],
    );
}
