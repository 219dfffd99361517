//! Stores that answer, by each way to them.

use crate::host::Host;

#[track_caller]
fn contains(text: &str, expected: &[&str]) {
    for part in expected {
        assert!(text.contains(part), "no `{part}` in:\n{text}");
    }
}

#[test]
fn every_way_to_a_store_says_who_answers() {
    let Some(host) = Host::start() else { return };
    let worker = host.run(&["store", "ping", "--store", &host.worker()]);
    contains(
        &worker.stdout,
        &[
            "nix version  2.",
            "protocol     worker 1.",
            "trusted      yes",
            "round trip   ",
        ],
    );
    let serve = host.run(&["store", "ping", "--store", &host.serve()]);
    contains(
        &serve.stdout,
        &[
            "nix version  unknown (the serve protocol does not say)",
            "protocol     serve 2.",
            "trusted      unknown (the serve protocol does not say)",
        ],
    );
    let local = host.run(&["store", "ping", "--store", &host.local(), "--json"]);
    contains(&local.stdout, &["\"trusted\": true", "\"round-trip-ms\": "]);
    assert_eq!([worker.code, serve.code, local.code], [Some(0); 3]);
}

/// As in a tutorial: a user, a host, and a key; nothing else.
#[test]
fn a_url_with_a_key_is_enough() {
    let Some(host) = Host::start() else { return };
    let url = format!(
        "ssh://root@127.0.0.1:{}?ssh-key={}",
        host.port(),
        host.file("client").display()
    );
    let mut command = host.command(&["store", "ping", "--store", &url]);
    let known_hosts = host.file("known_hosts");
    let key = std::fs::read_to_string(host.file("host.pub")).expect("a key");
    let line = format!("[127.0.0.1]:{} {key}", host.port());
    std::fs::write(&known_hosts, line).expect("known_hosts");
    let options = format!("-F none -o UserKnownHostsFile={}", known_hosts.display());
    let output = command.env("NIX_SSHOPTS", options).output();
    let output = output.expect("musher runs");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn info_says_what_the_url_means() {
    let Some(host) = Host::start() else { return };
    let url = format!("{}&compress=true&max-connections=3", host.worker());
    let info = host.run(&["store", "info", "--store", &url]);
    contains(
        &info.stdout,
        &[
            "store directory  /nix/store",
            "user             root",
            "host key         of the URL",
            "compress         yes",
            "max connections  3",
            "nix-daemon --stdio --store",
            "at most          40 s",
        ],
    );
    assert_eq!(info.code, Some(0), "{}", info.stderr);
}
