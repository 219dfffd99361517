//! What becomes of a `musher.toml`, and that what was written can be read.

use expect_test::{Expect, expect};

use super::*;
use crate::config::{Config, MachineKind};

const FILE: &str = "/etc/musher/musher.toml";

fn entry() -> Entry {
    Entry {
        name: MachineName::parse("bigbox").expect("a name"),
        authority: Authority::parse("you@bigbox:2222").expect("an authority"),
        systems: vec!["x86_64-linux".to_owned(), "i686-linux".to_owned()],
        max_jobs: 8,
        features: vec!["kvm".to_owned()],
        ssh_key: "/etc/musher/keys/bigbox".to_owned(),
        host_key: HostKey::from_lines("ssh-ed25519 AAAA").expect("a key"),
    }
}

#[track_caller]
fn check(before: &str, expected: &Expect) -> String {
    let written = entry().write(before, Path::new(FILE)).expect("written");
    expected.assert_eq(&written.text);
    let config = Config::parse(&written.text, Path::new(FILE), "x86_64-linux").expect("valid");
    let machine = config.machine("bigbox").expect("there");
    assert_eq!(machine.kind, MachineKind::Musher);
    assert_eq!(machine.connect.place(), "ssh://you@bigbox:2222");
    let again = entry()
        .write(&written.text, Path::new(FILE))
        .expect("written");
    assert_eq!(
        (again.text.as_str(), again.existed),
        (written.text.as_str(), true)
    );
    written.text
}

const COMMENTED: &str = "\
# Our builders.
timeout = \"1h\" # enough

# The old one.
[[machine]]
name = \"old\"
connect = \"ssh-ng://old\"
";

#[test]
fn a_machine_is_put_behind_what_is_there() {
    check(
        "",
        &expect![[r#"
        [[machine]]
        name = "bigbox"
        connect = "ssh://you@bigbox:2222"
        kind = "musher"
        systems = ["x86_64-linux", "i686-linux"]
        max-jobs = 8
        supported-features = ["kvm"]
        ssh-key = "/etc/musher/keys/bigbox"
        public-host-key = "c3NoLWVkMjU1MTkgQUFBQQ=="
    "#]],
    );
    let text = check(
        COMMENTED,
        &expect![[r#"
        # Our builders.
        timeout = "1h" # enough

        # The old one.
        [[machine]]
        name = "old"
        connect = "ssh-ng://old"

        [[machine]]
        name = "bigbox"
        connect = "ssh://you@bigbox:2222"
        kind = "musher"
        systems = ["x86_64-linux", "i686-linux"]
        max-jobs = 8
        supported-features = ["kvm"]
        ssh-key = "/etc/musher/keys/bigbox"
        public-host-key = "c3NoLWVkMjU1MTkgQUFBQQ=="
    "#]],
    );
    let without = remove(&text, Path::new(FILE), &entry().name).expect("valid");
    assert_eq!(without.as_deref(), Some(COMMENTED));
    check(
        "machine = [{ name = \"old\", connect = \"local\" }]\n",
        &expect![[r#"
        machine = [{ name = "old", connect = "local" }, { name = "bigbox", connect = "ssh://you@bigbox:2222", kind = "musher", systems = ["x86_64-linux", "i686-linux"], max-jobs = 8, supported-features = ["kvm"], ssh-key = "/etc/musher/keys/bigbox", public-host-key = "c3NoLWVkMjU1MTkgQUFBQQ==" }]
    "#]],
    );
}

#[test]
fn what_the_user_changed_stays() {
    check(
        "\
[[machine]]
name = \"bigbox\"
connect = \"ssh://you@elsewhere\" # for now
max-jobs = 3 # it is old
# no kvm
",
        &expect![[r#"
            [[machine]]
            name = "bigbox"
            connect = "ssh://you@bigbox:2222" # for now
            max-jobs = 3 # it is old
            kind = "musher"
            ssh-key = "/etc/musher/keys/bigbox"
            public-host-key = "c3NoLWVkMjU1MTkgQUFBQQ=="
            # no kvm
        "#]],
    );
}

#[test]
fn a_machine_goes_with_its_own_comment() {
    let text = "\
timeout = 1

# About all of them.

# About a.
[[machine]]
name = \"a\"
connect = \"ssh://a\"

# About b.
[[machine]]
name = \"b\"
connect = \"ssh://b\"
# the end
";
    let remove = |name| {
        let name = MachineName::parse(name).expect("a name");
        remove(text, Path::new(FILE), &name).expect("valid")
    };
    expect![[r#"
        timeout = 1

        # About all of them.

        # About b.
        [[machine]]
        name = "b"
        connect = "ssh://b"
        # the end
    "#]]
    .assert_eq(&remove("a").expect("there"));
    expect![[r#"
        timeout = 1

        # About all of them.

        # About a.
        [[machine]]
        name = "a"
        connect = "ssh://a"
        # the end
    "#]]
    .assert_eq(&remove("b").expect("there"));
    assert_eq!(remove("c"), None);
}

#[test]
fn a_broken_file_is_left_alone() {
    let error = entry()
        .write("timeout =\n", Path::new(FILE))
        .expect_err("broken");
    assert!(
        error.to_string().starts_with("/etc/musher/musher.toml:1:"),
        "{error}"
    );
}
