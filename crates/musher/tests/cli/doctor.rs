//! `musher doctor` where no coordinator runs.

use expect_test::expect;

use super::support::{Place, has_nix};

const CONFIG: &str = r#"
machine = [
    { name = "a", connect = "ssh-ng://a", systems = ["x86_64-linux"], max-jobs = 4 },
    { name = "b", connect = "ssh-ng://b", systems = ["x86_64-linux"], supported-features = ["kvm"] },
    { name = "c", connect = "ssh://c", systems = ["aarch64-linux"] },
]
"#;

/// A derivation for this system that requires these features.
fn derivation(system: &str, features: &str) -> String {
    format!(
        "Derive([(\"out\",\"\",\"r:sha256\",\"\")],[],[],\"{system}\",\"/bin/sh\",[],\
         [(\"requiredSystemFeatures\",\"{features}\")])"
    )
}

#[test]
fn doctor_says_which_machines_could_build_a_derivation() {
    let config = CONFIG.replace("[\"kvm\"]", "[\"kvm\", \"ca-derivations\"]");
    let text = derivation("x86_64-linux", "kvm");
    let place = Place::with(&[("musher.toml", &config), ("x.drv", &text)]);
    place.check(
        "doctor DIR/x.drv --run DIR/run",
        &expect![[r#"
            exit 0
            derivation  DIR/x.drv
            needs       `x86_64-linux` with features `ca-derivations`, `kvm`
            by the      configuration

            MACHINE  CAN BUILD IT  NOTE
            b        yes           -
            a        no            lacks `ca-derivations`, `kvm`
            c        no            offers only `aarch64-linux` and lacks `kvm`

            outcome  it is built by `b`; while that is busy or away, it waits
        "#]],
    );
    place.check(
        "doctor DIR/x.drv --run DIR/run --json",
        &expect![[r#"
            exit 0
            {
              "derivation": "DIR/x.drv",
              "system": "x86_64-linux",
              "required-features": [
                "ca-derivations",
                "kvm"
              ],
              "asked": "configuration",
              "able": [
                {
                  "machine": "b",
                  "state": null
                }
              ],
              "lacks": [
                {
                  "machine": "a",
                  "lacks": [
                    "lacks `ca-derivations`, `kvm`"
                  ]
                },
                {
                  "machine": "c",
                  "lacks": [
                    "offers only `aarch64-linux`",
                    "lacks `kvm`"
                  ]
                }
              ],
              "outcome": "it is built by `b`; while that is busy or away, it waits",
              "help": []
            }
        "#]],
    );
}

#[test]
fn doctor_says_what_would_make_a_machine_able() {
    let config = CONFIG.replace("[\"kvm\"]", "[\"kvm\", \"ca-derivations\"]");
    let text = derivation("x86_64-linux", "big");
    let place = Place::with(&[("musher.toml", &config), ("x.drv", &text)]);
    place.check("doctor DIR/x.drv --run DIR/run", &expect![[r#"
        exit 1
        derivation  DIR/x.drv
        needs       `x86_64-linux` with features `big`, `ca-derivations`
        by the      configuration

        MACHINE  CAN BUILD IT  NOTE
        a        no            lacks `big`, `ca-derivations`
        b        no            lacks `big`
        c        no            offers only `aarch64-linux` and lacks `big`

        outcome  no machine could ever build `x86_64-linux` with features `big`, `ca-derivations`; so at the hook entrance none of musher's builders fits, Nix declines them all by itself, and with `max-jobs = 0` it ends with an error about the required system or features
        help     if `a` has them, add "big", "ca-derivations" to its `supported-features`
                 if `b` has it, add "big" to its `supported-features`
                 after a change, run `musher reload` and `musher setup --write`
    "#]]);
    let text = derivation("riscv64-linux", "");
    let place = Place::with(&[("musher.toml", &config), ("x.drv", &text)]);
    place.check("doctor DIR/x.drv --run DIR/run", &expect![[r#"
        exit 1
        derivation  DIR/x.drv
        needs       `riscv64-linux` with feature `ca-derivations`
        by the      configuration

        MACHINE  CAN BUILD IT  NOTE
        a        no            offers only `x86_64-linux` and lacks `ca-derivations`
        b        no            offers only `x86_64-linux`
        c        no            offers only `aarch64-linux`

        outcome  no machine could ever build `riscv64-linux` with feature `ca-derivations`; so at the hook entrance none of musher's builders fits, Nix declines them all by itself, and with `max-jobs = 0` it ends with an error about the required system or features
        help     add a machine for `riscv64-linux` with feature `ca-derivations`
                 after a change, run `musher reload` and `musher setup --write`
    "#]]);
}

#[test]
fn doctor_refuses_what_is_no_derivation() {
    let place = Place::with(&[("musher.toml", CONFIG), ("x.drv", "hello")]);
    place.check(
        "doctor DIR/x.drv",
        &expect![[r#"
        exit 2
        --- messages
        error: `DIR/x.drv` is no derivation
        cause: ATerm parse error at byte 0: expected "Derive("
    "#]],
    );
    place.check(
        "doctor DIR/musher.toml",
        &expect![[r#"
        exit 2
        --- messages
        error: `DIR/musher.toml` is not called like a derivation
        help:  `nix-instantiate` and `nix path-info --derivation` print such files
    "#]],
    );
    place.check(
        "doctor DIR/y.drv",
        &expect![[r#"
        exit 2
        --- messages
        error: cannot read the derivation `DIR/y.drv`
        cause: No such file or directory (os error 2)
        help:  `nix-instantiate` and `nix path-info --derivation` print such files
    "#]],
    );
}

#[test]
fn doctor_finds_what_is_missing() {
    let config = format!("home-store = \"unix:///nowhere/socket\"\n{CONFIG}");
    let place = Place::with(&[("musher.toml", &config)]);
    let words = "doctor --run DIR/run --nix-conf DIR/nix.conf --program /usr/bin/musher";
    place.check(words, &expect![[r#"
        exit 1
        configuration  ok       3 machines, `DIR/musher.toml`
        coordinator    FAILED   the coordinator is not running: nobody listens on `DIR/run/control.sock`
                                cause: No such file or directory (os error 2)
                                help:  start it with `musher daemon`, or name its directory of sockets by `--run`
        home store     FAILED   cannot reach `unix:///nowhere/socket`
                                cause: cannot open the store
                                cause: cannot connect to socket `/nowhere/socket`
                                cause: No such file or directory (os error 2)
                                help:  start the daemon, or name its socket as `unix:///PATH`
        builders file  FAILED   `DIR/musher-builders` does not exist
                                help:  `musher setup` shows the difference, and with `--write` makes it so
        nix.conf       FAILED   `DIR/nix.conf` does not exist
                                help:  `musher setup` shows the difference, and with `--write` makes it so
        machine a      warning  not looked at while the coordinator is not running
                                help:  `musher machine test a` tries it out
        machine b      warning  not looked at while the coordinator is not running
                                help:  `musher machine test b` tries it out
        machine c      warning  not looked at while the coordinator is not running
                                help:  `musher machine test c` tries it out
    "#]]);
    let place = Place::with(&[("musher.toml", "max-jobs = 1")]);
    place.check("doctor --run DIR/run", &expect![[r#"
        exit 1
        configuration  FAILED   DIR/musher.toml:1:1: unknown settings key `max-jobs`
                                help:  `max-jobs` belongs to one machine: put it below a `[[machine]]`
        coordinator    FAILED   the coordinator is not running: nobody listens on `DIR/run/control.sock`
                                cause: No such file or directory (os error 2)
                                help:  start it with `musher daemon`, or name its directory of sockets by `--run`
    "#]]);
}

/// What works is not found wrong: where no Nix is, nothing is to be set up, and
/// a coordinator and a store are made when something is to be built.
#[test]
fn doctor_is_content_without_nix_and_machines() {
    if has_nix() {
        return;
    }
    let place = Place::with(&[("musher.toml", "")]);
    let words = "doctor --run DIR/run --state DIR/state";
    place.check(words, &expect![[r#"
        exit 0
        configuration    ok       the default fleet, 2 workers on this machine: none is defined in `DIR/musher.toml`
        coordinator      ok       not running; it is started when something is to be built
        home store       ok       musher's own; the first build makes it, in `DIR/state/home`
        nix.conf         ok       not looked at: no Nix is found on this host, and `musher build` needs none
        machine local-1  warning  not looked at while the coordinator is not running
                                  help:  `musher machine test local-1` tries it out
        machine local-2  warning  not looked at while the coordinator is not running
                                  help:  `musher machine test local-2` tries it out
    "#]]);
    place.check(
        "store add musher.toml --state DIR/state",
        &expect![[r#"
        exit 0
        /nix/store/l999a9c16ylrylcvb0337npsankx907p-musher.toml
    "#]],
    );
    let told = place.run(&format!("{words} --json"));
    assert!(told.starts_with("exit 0\n"), "{told}");
    assert!(
        told.contains("musher's own, in `DIR/state/home`, "),
        "{told}"
    );
    let database = place.path().join("state/home/nix/var/nix/db/db.sqlite");
    std::fs::write(database, "nonsense").expect("written");
    let told = place.run(words);
    assert!(told.starts_with("exit 1\n"), "{told}");
    assert!(told.contains("home store       FAILED "), "{told}");
}

#[test]
fn doctor_asks_no_nix_for_machines_without_nix() {
    if has_nix() {
        return;
    }
    let place = Place::with(&[("musher.toml", CONFIG)]);
    place.check("doctor --run DIR/run --state DIR/state", &expect![[r#"
        exit 0
        configuration  ok       3 machines, `DIR/musher.toml`
        coordinator    ok       not running; it is started when something is to be built
        home store     ok       musher's own; the first build makes it, in `DIR/state/home`
        nix.conf       ok       not looked at: no Nix is found on this host, and `musher build` needs none
        machine a      warning  not looked at while the coordinator is not running
                                help:  `musher machine test a` tries it out
        machine b      warning  not looked at while the coordinator is not running
                                help:  `musher machine test b` tries it out
        machine c      warning  not looked at while the coordinator is not running
                                help:  `musher machine test c` tries it out
    "#]]);
}

#[test]
fn doctor_knows_the_default_fleet() {
    let system = format!("{}-linux", std::env::consts::ARCH);
    let text = derivation(&system, "");
    let place = Place::with(&[("musher.toml", ""), ("x.drv", &text)]);
    let told = place.run("doctor DIR/x.drv --run DIR/run");
    assert!(told.starts_with("exit 0\n"), "{told}");
    assert!(told.contains("local-1  yes"), "{told}");
}
