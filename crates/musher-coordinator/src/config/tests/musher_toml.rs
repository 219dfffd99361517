//! `musher.toml`: what it means, and where each mistake in it is.

use std::path::Path;

use expect_test::{Expect, expect};

use super::{story, summary};
use crate::config::{Config, ConfigFile, Driven, Settings};

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("musher.toml"), "x86_64-linux").map_err(|error| story(&error))
}

/// The machines of a configuration, one a line, or its error.
#[track_caller]
fn check(text: &str, expected: &Expect) {
    let seen = match parse(text) {
        Ok(config) => config
            .machines()
            .iter()
            .map(summary)
            .collect::<Vec<_>>()
            .join("\n"),
        Err(story) => story,
    };
    expected.assert_eq(&seen);
}

#[test]
fn an_empty_file_has_every_default() {
    let config = parse("").expect("a configuration");
    assert_eq!(config.settings, Settings::default());
    assert!(config.machines().is_empty());
}

#[test]
fn settings_are_read() {
    let config = parse(
        r#"
        max-silent-time = "1h30m"
        timeout = 7200
        max-log-size = "100M"
        connect-timeout = 0x0f
        keepalive-interval = "2s"
        builders-use-substitutes = false
        home-store = "unix:///tmp/socket"
        store-socket = false
        max-attempts = 1_0
        sandbox-paths = ["/bin/sh=/usr/bin/busybox?"]
        "#,
    )
    .expect("a configuration");
    expect![[r#"
        Settings {
            max_silent_time: Some(
                5400s,
            ),
            timeout: Some(
                7200s,
            ),
            max_log_size: Some(
                104857600,
            ),
            connect_timeout: 15s,
            keepalive_interval: 2s,
            builders_use_substitutes: false,
            build_ahead: true,
            home_store: Daemon(
                DaemonStore {
                    socket: Some(
                        "/tmp/socket",
                    ),
                    params: LocalParams {
                        root: None,
                        store_dir: None,
                        system_features: [],
                    },
                },
            ),
            store_socket: false,
            max_attempts: 10,
            sandbox_paths: [
                SandboxPath {
                    target: "/bin/sh",
                    source: "/usr/bin/busybox",
                    optional: true,
                },
            ],
            trusted_public_keys: [
                TrustedPublicKey {
                    name: "cache.nixos.org-1",
                    key: VerifyingKey(CompressedEdwardsY: [232, 208, 135, 116, 62, 125, 95, 141, 245, 163, 72, 22, 202, 150, 204, 172, 5, 17, 145, 178, 117, 233, 147, 204, 64, 81, 172, 165, 192, 210, 134, 54]), EdwardsPoint{
                    	X: FieldElement51([1429488787744914, 1406258807427708, 145645614505605, 1621373085630586, 1921869693241903]),
                    	Y: FieldElement51([2108032033476840, 354906376417707, 638009182728795, 176361187883737, 959243029732037]),
                    	Z: FieldElement51([1, 0, 0, 0, 0]),
                    	T: FieldElement51([1708491999941801, 1221895026970218, 1943785821456387, 1520167763560463, 861468763111594])
                    }),
                },
            ],
            max_store_size: None,
            min_free: Some(
                1073741824,
            ),
        }
    "#]]
    .assert_debug_eq(&config.settings);
}

#[test]
fn zero_lifts_a_limit() {
    let config = parse("timeout = 0\nmax-silent-time = \"0s\"\nmax-log-size = 0").expect("valid");
    assert_eq!(config.settings, Settings::default());
}

#[test]
fn an_unknown_key_names_the_nearest() {
    check(
        "timeout = 1\nmax-silent-tme = 1",
        &expect![[r#"
        error: musher.toml:2:1: unknown settings key `max-silent-tme`
        help: did you mean `max-silent-time`?"#]],
    );
    check(
        "max-build-log-size = 1",
        &expect![[r#"
        error: musher.toml:1:1: unknown settings key `max-build-log-size`
        help: did you mean `max-log-size`?"#]],
    );
    check(
        "colour = \"blue\"",
        &expect![[r#"
            error: musher.toml:1:1: unknown settings key `colour`
            help: known keys: max-silent-time, timeout, max-log-size, connect-timeout, keepalive-interval, builders-use-substitutes, build-ahead, home-store, store-socket, max-attempts, sandbox-paths, trusted-public-keys, max-store-size, min-free, machine"#]],
    );
    check(
        "[[machine]]\nname = \"a\"\nsystem = []",
        &expect![[r#"
        error: musher.toml:3:1: unknown machine key `system`
        help: did you mean `systems`?"#]],
    );
}

#[test]
fn a_key_in_the_wrong_table_is_sent_to_the_right_one() {
    check(
        "max-jobs = 4",
        &expect![[r#"
        error: musher.toml:1:1: unknown settings key `max-jobs`
        help: `max-jobs` belongs to one machine: put it below a `[[machine]]`"#]],
    );
    check(
        "[[machine]]\ntimeout = 4",
        &expect![[r#"
        error: musher.toml:2:1: unknown machine key `timeout`
        help: `timeout` is a setting: put it above the first `[[machine]]`"#]],
    );
}

#[test]
fn values_are_checked() {
    check(
        "timeout = \"5 parsecs\"",
        &expect![
            "error: musher.toml:1:11: `timeout` cannot be `5 parsecs`: expected a duration like `1h`, `30m` or `90s`, or whole seconds"
        ],
    );
    check(
        "timeout = -1",
        &expect![
            "error: musher.toml:1:11: `timeout` cannot be `-1`: expected a duration like `1h`, `30m` or `90s`, or whole seconds"
        ],
    );
    check(
        "timeout = 1.5",
        &expect![
            "error: musher.toml:1:11: `timeout` is a float, not a duration like `1h`, `30m` or `90s`, or whole seconds"
        ],
    );
    check(
        "  max-log-size = \"1MB\"",
        &expect![
            "error: musher.toml:1:18: `max-log-size` cannot be `1MB`: expected a size like `100M`, `2G` (powers of 1024), or bytes"
        ],
    );
    check(
        "connect-timeout = \"0s\"",
        &expect![
            "error: musher.toml:1:19: `connect-timeout` cannot be `0`: expected at least one second"
        ],
    );
    check(
        "max-attempts = 0",
        &expect![
            "error: musher.toml:1:16: `max-attempts` cannot be `0`: expected a whole number from 1 up"
        ],
    );
    check(
        "builders-use-substitutes = \"yes\"",
        &expect![
            "error: musher.toml:1:28: `builders-use-substitutes` is a string, not true or false"
        ],
    );
    check(
        "sandbox-paths = [\"/ok\",\n \"bin/sh\"]",
        &expect![
            "error: musher.toml:2:2: `sandbox-paths` cannot be `bin/sh`: expected an absolute path like `/bin/sh`, `/bin/sh=/usr/bin/busybox` or `/dev/kvm?`"
        ],
    );
    check(
        "machine = 3",
        &expect![
            "error: musher.toml:1:11: `machine` is an integer, not tables, each under `[[machine]]`"
        ],
    );
    check(
        "machine = [3]",
        &expect![
            "error: musher.toml:1:12: `machine` is an integer, not tables, each under `[[machine]]`"
        ],
    );
}

#[test]
fn toml_mistakes_have_a_place() {
    check(
        "timeout = 1\ntimeout = 2",
        &expect!["error: musher.toml:2:1: duplicate key"],
    );
    check(
        "timeout 1",
        &expect!["error: musher.toml:1:9: key with no value, expected `=`"],
    );
    check(
        "home-store = \"ß",
        &expect![[r#"error: musher.toml:1:16: invalid basic string, expected `"`"#]],
    );
}

#[test]
fn machines_are_read() {
    check(
        r#"
        [[machine]]
        name = "bigbox"
        connect = "ssh://build@bigbox:2222"
        kind = "nix"
        systems = ["x86_64-linux", "i686-linux"]
        max-jobs = 8
        speed-factor = 2.5
        supported-features = ["kvm", "big-parallel"]
        mandatory-features = ["benchmark"]
        ssh-key = "/root/.ssh/nixdist"
        public-host-key = "c3NoLWVkMjU1MTkgQUFBQQo="
        remote-program = "/opt/nix/bin/nix-store"

        [[machine]]
        name = "ng"
        connect = "ssh-ng://ng"
        speed-factor = 0

        [[machine]]
        name = "here"
        connect = "local"
        sandbox-paths = ["/dev/kvm?"]

        [[machine]]
        name = "cluster"
        connect = { exec = ["srun", "--immediate"] }
        systems = []
        "#,
        &expect![[r#"
            bigbox: ssh://build@bigbox:2222?ssh-key=/root/.ssh/nixdist&base64-ssh-public-host-key=c3NoLWVkMjU1MTkgQUFBQQo=&remote-program=/opt/nix/bin/nix-store kind=nix systems={"i686-linux", "x86_64-linux"} jobs=8 speed=2.5 supported={"big-parallel", "kvm"} mandatory={"benchmark"} from=musher.toml:2:9
            ng: ssh-ng://ng kind=nix systems={"x86_64-linux"} jobs=1 speed=1 from=musher.toml:15:9
            here: local kind=musher systems={"x86_64-linux"} jobs=1 speed=1 sandbox-paths=[SandboxPath { target: "/dev/kvm", source: "/dev/kvm", optional: true }] from=musher.toml:20:9
            cluster: exec srun --immediate kind=musher systems={} jobs=1 speed=1 from=musher.toml:25:9"#]],
    );
}

#[test]
fn machines_are_checked() {
    let with = |line: &str| format!("[[machine]]\nname = \"a\"\nconnect = \"ssh://a\"\n{line}");
    check(
        "[[machine]]\nname = \"a\"",
        &expect!["error: musher.toml:1:1: machine has no `connect`"],
    );
    check(
        "[[machine]]\nconnect = \"local\"",
        &expect!["error: musher.toml:1:1: machine has no `name`"],
    );
    check(
        "[[machine]]\nname = \"a/b\"\nconnect = \"local\"",
        &expect![
            "error: musher.toml:2:8: `name` cannot be `a/b`: expected letters, digits, `.`, `_`, `-` and `:`, beginning with a letter, a digit or `_`"
        ],
    );
    check(
        "[[machine]]\nname = \"a\"\nconnect = \"bigbox\"",
        &expect![
            "error: musher.toml:3:11: `connect` cannot be `bigbox`: expected `ssh://HOST`, `ssh-ng://HOST`, `local` or { exec = [...] }"
        ],
    );
    check(
        "[[machine]]\nname = \"a\"\nconnect = \"ssh://\"",
        &expect![[r#"
            error: musher.toml:3:11: bad store URL `ssh://`
            cause: `` is not a host name
            help: names begin with a letter or digit and hold nothing a shell reads"#]],
    );
    check(
        "[[machine]]\nname = \"a\"\nconnect = { exec = [] }",
        &expect![
            "error: musher.toml:3:11: `connect` cannot be `exec`: expected a program and its arguments"
        ],
    );
    check(
        "[[machine]]\nname = \"a\"\nconnect = { run = [\"x\"] }",
        &expect![
            "error: musher.toml:3:11: `connect` is a table, not `ssh://HOST`, `ssh-ng://HOST`, `local` or { exec = [...] }"
        ],
    );
    check(
        "[[machine]]\nname = \"a\"\nconnect = \"ssh-ng://a\"\nkind = \"musher\"",
        &expect![[r#"
            error: musher.toml:4:8: `ssh-ng://` speaks to stock Nix, so `kind` cannot be `musher`
            help: remove `kind`, or use `ssh://` for a host where musher brings its own worker"#]],
    );
    check(
        &with("kind = \"snix\""),
        &expect!["error: musher.toml:4:8: `kind` cannot be `snix`: expected `musher` or `nix`"],
    );
    check(
        &with("speed-factor = -1.0"),
        &expect![
            "error: musher.toml:4:16: `speed-factor` cannot be `-1.0`: expected a number from 0 up"
        ],
    );
    check(
        &with("speed-factor = nan"),
        &expect![
            "error: musher.toml:4:16: `speed-factor` cannot be `nan`: expected a number from 0 up"
        ],
    );
    check(
        &with("speed-factor = \"fast\""),
        &expect!["error: musher.toml:4:16: `speed-factor` is a string, not a number"],
    );
    check(
        &with("max-jobs = -1"),
        &expect!["error: musher.toml:4:12: `max-jobs` cannot be `-1`: expected a whole number"],
    );
    check(
        &with("systems = \"x86_64-linux\""),
        &expect!["error: musher.toml:4:11: `systems` is a string, not a list of strings"],
    );
    check(
        "[[machine]]\nname = \"a\"\nconnect = \"local\"\nssh-key = \"/k\"",
        &expect![
            "error: musher.toml:4:11: `ssh-key` has no meaning for a machine that is not reached by ssh"
        ],
    );
    check(
        &with("supported-features = [\"kvm,big\"]"),
        &expect![
            "error: musher.toml:4:23: `supported-features` cannot be `kvm,big`: expected one word an item, without commas"
        ],
    );
    check(
        &with("public-host-key = \"ssh-ed25519 AAAA\""),
        &expect![[r#"
            error: musher.toml:4:19: bad host key `ssh-ed25519 AAAA`
            cause: it is not base64
            help: the value is printed on the host by `base64 -w0 /etc/ssh/ssh_host_ed25519_key.pub`"#]],
    );
}

#[test]
fn names_are_unique() {
    check(
        r#"
[[machine]]
name = "a"
connect = "ssh://a"
[[machine]]
name = "a"
connect = "ssh://b"
"#,
        &expect![[r#"
            error: musher.toml:5:1: machine `a` is already defined at musher.toml:2:1
            help: every machine needs a name of its own; one from a machines file is named after its host"#]],
    );
}

#[test]
fn machines_are_driven_by_their_kind_and_their_way() {
    let config = parse(
        r#"
        machine = [
            { name = "ng", connect = "ssh-ng://a" },
            { name = "serve", connect = "ssh://a", kind = "nix" },
            { name = "worker", connect = "ssh://a" },
            { name = "here", connect = "local" },
            { name = "there", connect = { exec = ["srun", "musher"] } },
            { name = "local-nix", connect = "local", kind = "nix" },
        ]
        "#,
    )
    .expect("a configuration");
    let seen: Vec<String> = config
        .machines()
        .iter()
        .map(|machine| match machine.driven() {
            Ok(Driven::Nix(store)) => format!("{}: Nix by {:?}", machine.name, store.protocol),
            Ok(Driven::SshWorker(store)) => format!("{}: by {}", machine.name, store.authority),
            Ok(driven) => format!("{}: {driven:?}", machine.name),
            Err(error) => format!("{error}; {}", error.help().unwrap_or_default()),
        })
        .collect();
    expect![[r#"
        ng: Nix by Worker
        serve: Nix by Serve
        worker: by a
        here: LocalWorker
        there: ExecWorker(["srun", "musher"])
        machine `local-nix` is of kind `nix` but is reached by `local`; connect by `ssh://` or `ssh-ng://` to a host with stock Nix"#]].assert_eq(&seen.join("\n"));
}

#[test]
fn a_given_file_must_exist_and_the_usual_need_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("musher.toml");
    let load = |file| Config::load(&file, "x86_64-linux");
    assert!(load(ConfigFile::Given(path.clone())).is_err());
    let usual = load(ConfigFile::Usual(path)).expect("defaults");
    assert_eq!(usual.settings, Settings::default());
}

#[test]
fn the_machines_file_beside_is_read_too() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("musher.toml");
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text);
    write(
        "musher.toml",
        "[[machine]]\nname = \"a\"\nconnect = \"ssh://h\"",
    )
    .expect("written");
    write("machines", "b\n@more").expect("written");
    write("more", "c").expect("written");
    let file = ConfigFile::Given(path);
    let config = Config::load(&file, "x86_64-linux").expect("a configuration");
    let names: Vec<_> = config.machines().iter().map(|m| m.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);

    write("more", "a").expect("written");
    let clash = Config::load(&file, "x86_64-linux").expect_err("two of one name");
    let text = clash
        .to_string()
        .replace(&dir.path().display().to_string(), "DIR");
    expect!["DIR/more:1:1: machine `a` is already defined at DIR/musher.toml:1:1"].assert_eq(&text);
}
