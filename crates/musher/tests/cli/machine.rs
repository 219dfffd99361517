//! Commands about machines that need only the configuration.

use expect_test::expect;

use super::support::{Place, run};

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
    "#]]);
    place.check(
        "machine list --json --run DIR/run",
        &expect![[r#"
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
            "not-drivable": null,
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
    "#]],
    );
}

#[test]
fn without_machines_the_default_fleet_is_shown() {
    let place = Place::with(&[("musher.toml", "")]);
    let run = |words: &str| {
        let dir = place.path().display();
        let words = format!("--config {dir}/musher.toml --run {dir}/run machine {words}");
        let args: Vec<_> = words.split_whitespace().map(str::to_owned).collect();
        run(&args, place.path()).replace(&dir.to_string(), "DIR")
    };
    let note = "note:  no machine is defined in `DIR/musher.toml`: this is the default fleet\n";
    // How many jobs and which features is for this host to say.
    let list = run("list");
    assert!(list.contains("\nlocal-1  local    musher  "), "{list}");
    assert!(list.contains("\nlocal-2  local    musher  "), "{list}");
    assert!(list.ends_with(note), "{list}");
    let json = run("list --json");
    assert_eq!(json.matches("\"defined-at\": null").count(), 2, "{json}");
    let shown = run("show local-2");
    assert!(
        shown.contains("nowhere, it is of the default fleet\n"),
        "{shown}"
    );
    place.check(
        "machine show b1",
        &expect![[r#"
        exit 2
        --- messages
        error: no machine is called `b1`
        help:  there are: local-1, local-2
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
              "not-drivable": null
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

#[test]
fn what_cannot_be_added_is_refused_before_anyone_is_asked() {
    let place = Place::with(&[("musher.toml", TWO)]);
    place.check("machine add localhost", &expect![[r#"
        exit 2
        --- messages
        error: `localhost` is this host, and is not reached by ssh
        help:  this host builds by a `[[machine]]` with `connect = "local"`; to go through its sshd all the same, name it `127.0.0.1`
    "#]]);
    place.check(
        "machine add you@big;box",
        &expect![[r#"
        exit 2
        --- messages
        error: cannot understand `you@big;box` as a machine
        cause: `big;box` is not a host name
        help:  it is `[USER@]HOST[:PORT]`, as in `you@bigbox:2222`
    "#]],
    );
    place.check("machine add box --name a/b", &expect![[r#"
        exit 2
        --- messages
        error: invalid value 'a/b' for '--name <NAME>': a name has letters, digits, `.`, `_`, `-` and `:`

        For more information, try '--help'.
    "#]]);
    place.check(
        "machine add box:99999",
        &expect![[r#"
        exit 2
        --- messages
        error: cannot understand `box:99999` as a machine
        cause: `99999` is not a port
        help:  it is `[USER@]HOST[:PORT]`, as in `you@bigbox:2222`
    "#]],
    );
}

#[test]
fn only_known_machines_of_musher_toml_are_removed() {
    let place = Place::with(&[("musher.toml", TWO), ("machines", "old s390x-linux - 2")]);
    place.check(
        "machine remove nobody",
        &expect![[r#"
        exit 2
        --- messages
        error: no machine is called `nobody`
        help:  there are: bigbox, later, old
    "#]],
    );
    place.check(
        "machine remove old",
        &expect![[r#"
        exit 2
        --- messages
        error: machine `old` stands in `DIR/machines`, which is not musher's to change
        help:  take its line out by hand
    "#]],
    );
    // Stock Nix: nothing of ours is there, but the table is somebody's work.
    place.check(
        "machine remove bigbox --run DIR/run",
        &expect![[r#"
        exit 2
        --- messages
        error: there is nobody to ask: take `bigbox` out of `DIR/musher.toml`?
        help:  `--yes` asks nothing
    "#]],
    );
    place.check(
        "machine remove bigbox --yes --run DIR/run",
        &expect![[r#"
        exit 0
        configuration    ok       `bigbox` taken out of `DIR/musher.toml`
        coordinator      ok       no coordinator runs; `musher daemon` will read it
    "#]],
    );
    expect![[r#"

        [[machine]]
        name = "later"
        connect = "ssh://later"
        systems = ["aarch64-linux"]
    "#]]
    .assert_eq(&place.read("musher.toml"));
}
