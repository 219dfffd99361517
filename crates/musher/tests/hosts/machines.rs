//! `musher machine test`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::host::{BOUND, Host, PATIENT};

/// Writes a configuration with these machines: name, URL and system.
fn configure(host: &Host, machines: &[(&str, &str, &str)]) {
    let table = |(name, url, system): &(&str, &str, &str)| {
        format!(
            "[[machine]]\nname = \"{name}\"\nconnect = \"{url}\"\nkind = \"nix\"\n\
             systems = [\"{system}\"]\n"
        )
    };
    let tables: String = machines.iter().map(table).collect();
    fs::write(host.file("musher.toml"), format!("{PATIENT}{tables}")).expect("written");
}

fn this_system() -> String {
    format!("{}-linux", std::env::consts::ARCH)
}

/// The lines of a test, each as machine, step and state.
fn steps(output: &str) -> Vec<[&str; 3]> {
    let lines = output.lines().filter(|line| !line.starts_with(' '));
    let words = lines.map(|line| line.replace("round trip", "round-trip"));
    let known = ["ok", "warning", "FAILED"];
    words
        .map(|line| {
            let line: &'static str = line.leak();
            let mut words = line.split_whitespace();
            let mut next = || words.next().expect("a word");
            let step = [next(), next(), next()];
            assert!(known.contains(&step[2]), "{line}");
            step
        })
        .collect()
}

#[test]
fn good_machines_pass_and_bad_ones_say_why() {
    let Some(host) = Host::start() else { return };
    let worker = host.url("ssh-ng", "nix-daemon", "shell", "remote");
    // Each with a store of its own: Nix may fail where two make one at once.
    let serve = host.url("ssh", "nix-store", "shell", "served");
    let other = host.url("ssh", "nix-store", "shell", "other-remote");
    let gone = "ssh-ng://root@127.0.0.1:1";
    let system = this_system();
    configure(
        &host,
        &[
            ("worker", &worker, &system),
            ("gone", gone, &system),
            ("serve", &serve, &system),
            ("other", &other, "pdp11-unix"),
        ],
    );
    let good = host.run(&["machine", "test", "worker", "serve"]);
    assert_eq!(good.code, Some(0), "{}{}", good.stdout, good.stderr);
    let all_steps = [
        "connect",
        "round-trip",
        "versions",
        "trust",
        "upload",
        "download",
        "build",
    ];
    let expected: Vec<_> = ["worker", "serve"]
        .into_iter()
        .flat_map(|name| all_steps.map(|step| [name, step, "ok"]))
        .collect();
    assert_eq!(steps(&good.stdout), expected);

    let all = host.run(&["machine", "test", "--all", "--json"]);
    assert_eq!(all.code, Some(1), "{}{}", all.stdout, all.stderr);
    let passed: Vec<_> = all
        .stdout
        .lines()
        .filter(|line| line.contains("\"passed\""))
        .collect();
    let said = ["true", "false", "true", "false"].map(|it| format!("    \"passed\": {it},"));
    assert_eq!(passed, said);
    for part in [
        "a 'pdp11-unix'",
        "than its `systems` says",
        "refuses connections on this port",
        "\"upload-bytes-per-second\": null",
    ] {
        assert!(all.stdout.contains(part), "no `{part}` in:\n{}", all.stdout);
    }
}

#[test]
fn a_sandbox_without_a_shell_is_no_failure() {
    let Some(host) = Host::start() else { return };
    configure(&host, &[("bare", &host.worker(), &this_system())]);
    let bare = host.run(&["machine", "test", "bare"]);
    assert_eq!(bare.code, Some(0), "{}{}", bare.stdout, bare.stderr);
    let last = *steps(&bare.stdout).last().expect("a step");
    assert_eq!(last, ["bare", "build", "warning"]);
    let words = "there is no `/bin/sh` to build with";
    assert!(bare.stdout.contains(words), "{}", bare.stdout);
}

/// A nix-daemon that listens; ended when dropped.
struct Daemon(Child);

impl Daemon {
    fn start(host: &Host, socket: &Path) -> Self {
        let child = Command::new("nix-daemon")
            .arg("--store")
            .arg(host.file("remote"))
            .env("NIX_CONF_DIR", host.file("shell"))
            .env("NIX_DAEMON_SOCKET_PATH", socket)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let daemon = Self(child.expect("nix-daemon starts"));
        let started = Instant::now();
        while !socket.exists() {
            assert!(started.elapsed() < BOUND);
            std::thread::yield_now();
        }
        daemon
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.0.kill().expect("our child");
        self.0.wait().expect("its end");
    }
}

/// Old Nix does not say whom it trusts, and hangs up on strangers who ask.
#[test]
fn a_machine_that_does_not_trust_us_builds_nevertheless() {
    let Some(host) = Host::start() else { return };
    // Where a stranger may go, and a socket's path is short.
    let public = tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir()
        .expect("a directory");
    let socket = public.path().join("socket");
    let _daemon = Daemon::start(&host, &socket);
    let program = public.path().join("stranger");
    let line = format!(
        "exec setpriv --reuid=65534 --regid=65534 --clear-groups \
         env HOME=/nonexistent NIX_REMOTE=unix://{} nix-daemon \"$@\"",
        socket.display()
    );
    fs::write(&program, format!("#!/bin/sh\n{line}\n")).expect("written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a mode");
    let url = format!(
        "ssh-ng://{}&remote-program={}",
        host.authority(),
        program.display()
    );
    let ping = host.run(&["store", "ping", "--store", &url]);
    assert!(
        ping.stdout.contains("trusted      no"),
        "{}{}",
        ping.stdout,
        ping.stderr
    );

    configure(&host, &[("m", &url, &this_system())]);
    let tested = host.run(&["machine", "test", "m"]);
    assert_eq!(tested.code, Some(0), "{}{}", tested.stdout, tested.stderr);
    let states: Vec<_> = steps(&tested.stdout)
        .into_iter()
        .map(|[_, _, state]| state)
        .collect();
    assert_eq!(states, ["ok", "ok", "ok", "warning", "ok", "ok", "ok"]);
}
