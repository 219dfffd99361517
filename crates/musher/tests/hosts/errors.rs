//! Every way in which a store is not reached has an error of its own, with
//! cause and advice, in time.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use crate::host::{Host, free_port};

const TIMEOUT: Duration = Duration::from_secs(5);

/// Fails to reach a store, with these words in the message.
#[track_caller]
fn fails(host: &Host, url: &str, words: &[&str]) {
    let started = Instant::now();
    let timeout = TIMEOUT.as_secs().to_string();
    let ran = host.run(&[
        "store",
        "ping",
        "--store",
        url,
        "--connect-timeout",
        &timeout,
    ]);
    let took = started.elapsed();
    assert!(took < TIMEOUT * 2, "late, after {took:?}");
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    let has_help = ran.stderr.contains("\nhelp:  ") && ran.stderr.contains("\ncause: ");
    assert!(
        ran.stderr.starts_with("error: cannot reach `ssh"),
        "{}",
        ran.stderr
    );
    assert!(has_help, "{}", ran.stderr);
    for word in words {
        assert!(ran.stderr.contains(word), "no `{word}` in:\n{}", ran.stderr);
    }
}

#[test]
fn a_refused_key_and_an_unknown_host_key() {
    let Some(host) = Host::start() else { return };
    let refused = host.worker().replace("/client&", "/other&");
    fails(
        &host,
        &refused,
        &["the host refused the key", "authorized_keys"],
    );
    let unknown = format!(
        "ssh://root@127.0.0.1:{}?ssh-key={}",
        host.port(),
        host.file("client").display()
    );
    let words = ["the host's key is not known here", "ssh-keyscan"];
    fails(&host, &unknown, &words);
}

#[test]
fn a_program_that_is_not_there() {
    let Some(host) = Host::start() else { return };
    for scheme in ["ssh-ng", "ssh"] {
        let url = format!("{scheme}://{}&remote-program=no-such-nix", host.authority());
        let words = ["the program to start is not there", "install `no-such-nix`"];
        fails(&host, &url, &words);
    }
}

#[test]
fn a_port_where_nobody_listens_or_something_else() {
    let Some(host) = Host::start() else { return };
    let nobody = format!("ssh-ng://root@127.0.0.1:{}", free_port());
    fails(
        &host,
        &nobody,
        &["refuses connections on this port", "check the port"],
    );
    let port = impostor(|mut stream| {
        // Until the client hangs up.
        let _ = stream.write_all(b"220 mail.example.org ESMTP\r\n");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let mail = format!("ssh://root@127.0.0.1:{port}");
    fails(&host, &mail, &["is no ssh server", "220 mail.example.org"]);
    let port = impostor(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    let silent = format!("ssh://root@127.0.0.1:{port}");
    fails(&host, &silent, &["no answer within 5 s"]);
}

/// A server of one connection that is no sshd.
fn impostor(serve: impl FnOnce(TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("its number").port();
    std::thread::spawn(move || serve(listener.accept().expect("a connection").0));
    port
}

#[test]
fn a_shell_that_greets_and_a_program_that_hangs() {
    let Some(host) = Host::start() else { return };
    let greets = script(
        &host,
        "greets",
        "echo 'Welcome to bigbox'; exec nix-daemon \"$@\"",
    );
    for scheme in ["ssh-ng", "ssh"] {
        let url = format!("{scheme}://{}&remote-program={greets}", host.authority());
        fails(&host, &url, &["Welcome to bigbox"]);
    }
    let hangs = script(&host, "hangs", "exec sleep 60");
    let url = format!("ssh-ng://{}&remote-program={hangs}", host.authority());
    fails(&host, &url, &["did not answer within 5 s"]);
}

/// A program on the host.
fn script(host: &Host, name: &str, line: &str) -> String {
    let file = host.file(name);
    fs::write(&file, format!("#!/bin/sh\n{line}\n")).expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("a mode");
    file.display().to_string()
}
