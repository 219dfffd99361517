//! Commands about machines that need only the configuration.

use expect_test::expect;

use super::support::Place;

const TWO: &str = r#"
[[machine]]
name = "bigbox"
connect = "ssh-ng://build@bigbox:2222"
systems = ["x86_64-linux", "i686-linux"]
max-jobs = 8
speed-factor = 2.5
supported-features = ["kvm"]
mandatory-features = ["big-parallel"]
ssh-key = "/root/.ssh/nixdist"

[[machine]]
name = "later"
connect = "ssh://later"
systems = ["aarch64-linux"]
"#;

#[test]
fn list_shows_both_files() {
    let place = Place::with(&[("musher.toml", TWO), ("machines", "old s390x-linux - 2")]);
    place.check("machine list --run DIR/run", &expect![[r#"
        exit 0
        NAME    CONNECT                     KIND    SYSTEMS                  JOBS  SPEED  FEATURES
        bigbox  ssh-ng://build@bigbox:2222  nix     i686-linux,x86_64-linux  8     2.5    big-parallel!,kvm
        later   ssh://later                 musher  aarch64-linux            1     1      -
        old     ssh://old                   nix     s390x-linux              2     1      -
        --- messages
        note:  machine `later` is of kind `musher`, which this release cannot drive yet; set `kind = "nix"` if the host has stock Nix
    "#]]);
    place.check("machine list --json --run DIR/run", &expect![[r#"
        exit 0
        [
          {
            "name": "bigbox",
            "connect": "ssh-ng://build@bigbox:2222?ssh-key=/root/.ssh/nixdist",
            "kind": "nix",
            "systems": [
              "i686-linux",
              "x86_64-linux"
            ],
            "max-jobs": 8,
            "speed-factor": 2.5,
            "supported-features": [
              "kvm"
            ],
            "mandatory-features": [
              "big-parallel"
            ],
            "defined-at": "DIR/musher.toml:2:1",
            "not-drivable": null,
            "live": null
          },
          {
            "name": "later",
            "connect": "ssh://later",
            "kind": "musher",
            "systems": [
              "aarch64-linux"
            ],
            "max-jobs": 1,
            "speed-factor": 1.0,
            "supported-features": [],
            "mandatory-features": [],
            "defined-at": "DIR/musher.toml:12:1",
            "not-drivable": "machine `later` is of kind `musher`, which this release cannot drive yet",
            "live": null
          },
          {
            "name": "old",
            "connect": "ssh://old",
            "kind": "nix",
            "systems": [
              "s390x-linux"
            ],
            "max-jobs": 2,
            "speed-factor": 1.0,
            "supported-features": [],
            "mandatory-features": [],
            "defined-at": "DIR/machines:1:1",
            "not-drivable": null,
            "live": null
          }
        ]
    "#]]);
}

#[test]
fn without_machines_the_list_says_so() {
    let place = Place::with(&[("musher.toml", "")]);
    place.check(
        "machine list --run DIR/run",
        &expect![[r#"
        exit 0
        --- messages
        note:  no machine is defined in `DIR/musher.toml`
    "#]],
    );
    place.check(
        "--json machine list",
        &expect![[r#"
        exit 0
        []
    "#]],
    );
}

#[test]
fn mistakes_have_a_place_and_advice() {
    let place = Place::with(&[("musher.toml", "timeout = 1\nmax-silent-tme = 1")]);
    place.check(
        "machine list --run DIR/run",
        &expect![[r#"
        exit 2
        --- messages
        error: DIR/musher.toml:2:1: unknown settings key `max-silent-tme`
        help:  did you mean `max-silent-time`?
    "#]],
    );
    place.check(
        "machine list --config DIR/none.toml",
        &expect![[r#"
        exit 2
        --- messages
        error: cannot read `DIR/none.toml`
        cause: No such file or directory (os error 2)
    "#]],
    );
}

#[test]
fn show_tells_about_one() {
    let place = Place::with(&[("musher.toml", TWO)]);
    place.check(
        "machine show bigbox",
        &expect![[r#"
        exit 0
        name                bigbox
        connect             ssh-ng://build@bigbox:2222?ssh-key=/root/.ssh/nixdist
        kind                nix
        systems             i686-linux x86_64-linux
        max-jobs            8
        speed-factor        2.5
        supported-features  kvm
        mandatory-features  big-parallel
        defined at          DIR/musher.toml:2:1
        gets builds         yes
    "#]],
    );
    place.check(
        "machine show later --json",
        &expect![[r#"
        exit 0
        {
          "name": "later",
          "connect": "ssh://later",
          "kind": "musher",
          "systems": [
            "aarch64-linux"
          ],
          "max-jobs": 1,
          "speed-factor": 1.0,
          "supported-features": [],
          "mandatory-features": [],
          "defined-at": "DIR/musher.toml:12:1",
          "not-drivable": "machine `later` is of kind `musher`, which this release cannot drive yet"
        }
    "#]],
    );
    place.check(
        "machine show bigbux",
        &expect![[r#"
        exit 2
        --- messages
        error: no machine is called `bigbux`
        help:  there are: bigbox, later
    "#]],
    );
}

#[test]
fn import_prints_or_writes() {
    let place = Place::with(&[
        ("musher.toml", "timeout = \"1h\" # ours\n"),
        (
            "nix-machines",
            "ssh://me@a x86_64-linux /key 4 2 kvm\nssh-ng://b s - 2",
        ),
    ]);
    place.check(
        "machine import nix-machines",
        &expect![[r#"
        exit 0
        [[machine]]
        name = "a"
        connect = "ssh://me@a"
        kind = "nix"
        systems = ["x86_64-linux"]
        max-jobs = 4
        speed-factor = 2.0
        supported-features = ["kvm"]
        ssh-key = "/key"

        [[machine]]
        name = "b"
        connect = "ssh-ng://b"
        systems = ["s"]
        max-jobs = 2
    "#]],
    );
    place.check(
        "machine import nix-machines --write",
        &expect![[r#"
        exit 0
        --- DIR/musher.toml
        +++ DIR/musher.toml
        @@ -1 +1,17 @@
         timeout = "1h" # ours
        +
        +[[machine]]
        +name = "a"
        +connect = "ssh://me@a"
        +kind = "nix"
        +systems = ["x86_64-linux"]
        +max-jobs = 4
        +speed-factor = 2.0
        +supported-features = ["kvm"]
        +ssh-key = "/key"
        +
        +[[machine]]
        +name = "b"
        +connect = "ssh-ng://b"
        +systems = ["s"]
        +max-jobs = 2
        --- messages
        note:  added 2 machines to `DIR/musher.toml`
    "#]],
    );
    place.check(
        "machine import nix-machines --write",
        &expect![[r#"
        exit 2
        --- messages
        error: DIR/nix-machines:1:1: machine `a` is already defined at DIR/musher.toml:3:1
        help:  remove one of the two; nothing has been imported
    "#]],
    );
    expect![[r#"
        timeout = "1h" # ours

        [[machine]]
        name = "a"
        connect = "ssh://me@a"
        kind = "nix"
        systems = ["x86_64-linux"]
        max-jobs = 4
        speed-factor = 2.0
        supported-features = ["kvm"]
        ssh-key = "/key"

        [[machine]]
        name = "b"
        connect = "ssh-ng://b"
        systems = ["s"]
        max-jobs = 2
    "#]]
    .assert_eq(&place.read("musher.toml"));
}

#[test]
fn import_makes_the_file() {
    let place = Place::with(&[("nix-machines", "a s")]);
    place.check("machine import nix-machines --write --json", &expect![[r#"
        exit 0
        {
          "file": "DIR/musher.toml",
          "machines": [
            "a"
          ],
          "toml": "[[machine]]\nname = \"a\"\nconnect = \"ssh://a\"\nkind = \"nix\"\nsystems = [\"s\"]\n",
          "written": true
        }
    "#]]);
    place.check(
        "machine list --run DIR/run",
        &expect![[r#"
        exit 0
        NAME  CONNECT  KIND  SYSTEMS  JOBS  SPEED  FEATURES
        a     ssh://a  nix   s        1     1      -
    "#]],
    );
}

#[test]
fn what_cannot_be_imported_is_refused() {
    let place = Place::with(&[("musher.toml", ""), ("machines", "a"), ("bad", "a - - x")]);
    place.check(
        "machine import machines",
        &expect![[r#"
        exit 2
        --- messages
        error: `machines` is read together with musher.toml already
    "#]],
    );
    place.check(
        "machine import none",
        &expect![[r#"
        exit 2
        --- messages
        error: there is no file `none`
    "#]],
    );
    place.check(
        "machine import bad",
        &expect![[r#"
        exit 2
        --- messages
        error: DIR/bad:1:7: column 4 (maxJobs) cannot be `x`: expected a whole number
    "#]],
    );
}
