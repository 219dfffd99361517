//! ssh's words as it wrote them, beside what they are taken for.

use std::time::Duration;

use expect_test::{Expect, expect};

use super::Transcript;
use crate::ssh::SshError;

const GIVEN: Duration = Duration::from_secs(10);

fn read(said: &str) -> Transcript {
    let mut transcript = Transcript::default();
    said.lines().for_each(|line| transcript.line(line));
    transcript
}

#[track_caller]
fn check(said: &str, expected: &Expect) {
    let error = SshError::Connect {
        target: "build@bigbox:2222".into(),
        source: read(said).fault(Some(255), GIVEN),
    };
    expected.assert_eq(&describe(&error));
}

fn describe(error: &SshError) -> String {
    let mut text = format!("error: {error}\n");
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        text += &format!("cause: {source}\n");
        cause = source;
    }
    if let Some(help) = error.help() {
        text += &format!("help: {help}\n");
    }
    text
}

#[test]
fn refused_key() {
    check(
        "OpenSSH_9.2p1 Debian-2+deb12u10, OpenSSL 3.0.19 27 Jan 2026
         debug1: Connection established.
         debug1: Authentications that can continue: publickey
         build@bigbox: Permission denied (publickey).",
        &expect![[r#"
            error: cannot connect to `build@bigbox:2222` by ssh
            cause: the host refused the key
            cause: ssh said `build@bigbox: Permission denied (publickey).`
            help: put the public half of the key into `~/.ssh/authorized_keys` of that user on the host; name the private half with `ssh-key=`
        "#]],
    );
}

#[test]
fn key_files() {
    check(
        "Warning: Identity file /root/.ssh/nixdist not accessible: No such file or directory.
         build@bigbox: Permission denied (publickey).",
        &expect![[r#"
            error: cannot connect to `build@bigbox:2222` by ssh
            cause: there is no private key to read at `/root/.ssh/nixdist`
            cause: ssh said `Warning: Identity file /root/.ssh/nixdist not accessible: No such file or directory.`, `build@bigbox: Permission denied (publickey).`
            help: check the path; a daemon sees the files of its own user
        "#]],
    );
    check(
        "@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
         @         WARNING: UNPROTECTED PRIVATE KEY FILE!          @
         @@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
         Permissions 0644 for '/root/.ssh/nixdist' are too open.
         It is required that your private key files are NOT accessible by others.
         This private key will be ignored.
         Load key \"/root/.ssh/nixdist\": bad permissions
         build@bigbox: Permission denied (publickey).",
        &expect![[r#"
            error: cannot connect to `build@bigbox:2222` by ssh
            cause: the private key `/root/.ssh/nixdist` is readable by others
            cause: ssh said `WARNING: UNPROTECTED PRIVATE KEY FILE!`, `Permissions 0644 for '/root/.ssh/nixdist' are too open.`, `It is required that your private key files are NOT accessible by others.`, `This private key will be ignored.`, `Load key "/root/.ssh/nixdist": bad permissions`, `build@bigbox: Permission denied (publickey).`
            help: run `chmod 600 /root/.ssh/nixdist`
        "#]],
    );
    check(
        "Load key \"/root/.ssh/nixdist\": error in libcrypto
         build@bigbox: Permission denied (publickey).",
        &expect![[r#"
            error: cannot connect to `build@bigbox:2222` by ssh
            cause: the private key `/root/.ssh/nixdist` cannot be used
            cause: ssh said `Load key "/root/.ssh/nixdist": error in libcrypto`, `build@bigbox: Permission denied (publickey).`
            help: use a private key without a passphrase, or put it into an agent
        "#]],
    );
}

#[test]
fn host_keys() {
    check(
        "debug1: Server host key: ssh-ed25519 SHA256:abc
         Host key verification failed.",
        &expect![[r#"
            error: cannot connect to `build@bigbox:2222` by ssh
            cause: the host's key is not known here
            cause: ssh said `Host key verification failed.`
            help: compare its fingerprint, then add it with `ssh-keyscan`, or give it as `base64-ssh-public-host-key=`; `ssh ssh://build@bigbox:2222` once by hand does it too
        "#]],
    );
    check(
        "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
         Host key for bigbox has changed and you have requested strict checking.
         Host key verification failed.",
        &expect![[r#"
            error: cannot connect to `build@bigbox:2222` by ssh
            cause: the host's key is not the one that is known here
            cause: ssh said `WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!`, `Host key for bigbox has changed and you have requested strict checking.`, `Host key verification failed.`
            help: if the host was set up anew, replace the known key; otherwise someone may be listening in
        "#]],
    );
}

#[test]
fn no_way_there() {
    check(
        "ssh: Could not resolve hostname bigbox: Name or service not known",
        &expect![[r#"
            error: cannot connect to `build@bigbox:2222` by ssh
            cause: the host name has no address
            cause: ssh said `ssh: Could not resolve hostname bigbox: Name or service not known`
            help: check the spelling, or give the host an address in `~/.ssh/config`
        "#]],
    );
    check(
        "ssh: connect to host bigbox port 2222: Connection refused",
        &expect![[r#"
            error: cannot connect to `build@bigbox:2222` by ssh
            cause: the host refuses connections on this port
            cause: ssh said `ssh: connect to host bigbox port 2222: Connection refused`
            help: check the port (`ssh://HOST:PORT`), and that sshd runs on the host
        "#]],
    );
    check(
        "ssh: connect to host bigbox port 2222: No route to host",
        &expect![[r#"
            error: cannot connect to `build@bigbox:2222` by ssh
            cause: the host cannot be reached
            cause: ssh said `ssh: connect to host bigbox port 2222: No route to host`
            help: check that the host is up and the network between
        "#]],
    );
    check(
        "debug1: Connecting to bigbox [192.0.2.1] port 2222.
         ssh: connect to host bigbox port 2222: Connection timed out",
        &expect![[r#"
            error: cannot connect to `build@bigbox:2222` by ssh
            cause: no answer within 10 s while connecting
            cause: ssh said `ssh: connect to host bigbox port 2222: Connection timed out`
            help: check that the host is up, and for a firewall
        "#]],
    );
}

#[test]
fn not_an_ssh_server() {
    check(
        "debug1: Connection established.
         kex_exchange_identification: banner line contains invalid characters
         banner exchange: Connection to 127.0.0.1 port 2222: invalid format",
        &expect![[r#"
            error: cannot connect to `build@bigbox:2222` by ssh
            cause: what answers on this port is no ssh server
            cause: ssh said `kex_exchange_identification: banner line contains invalid characters`, `banner exchange: Connection to 127.0.0.1 port 2222: invalid format`
            help: check the port: it is the one sshd listens on
        "#]],
    );
    check(
        "debug1: Connection established.
         debug1: kex_exchange_identification: banner line 0: 220 mail.example.org ESMTP
         kex_exchange_identification: Connection closed by remote host
         Connection closed by 127.0.0.1 port 2222",
        &expect![[r#"
            error: cannot connect to `build@bigbox:2222` by ssh
            cause: what answers on this port is no ssh server, it says `220 mail.example.org ESMTP`
            cause: ssh said `kex_exchange_identification: Connection closed by remote host`, `Connection closed by 127.0.0.1 port 2222`
            help: check the port: it is the one sshd listens on
        "#]],
    );
    check(
        "debug1: Connection established.
         kex_exchange_identification: Connection closed by remote host
         Connection closed by 127.0.0.1 port 2222",
        &expect![[r#"
            error: cannot connect to `build@bigbox:2222` by ssh
            cause: the host closed the connection while waiting for an ssh server's greeting
            cause: ssh said `kex_exchange_identification: Connection closed by remote host`, `Connection closed by 127.0.0.1 port 2222`
            help: the host may have too many connections (`MaxStartups`) or keep this address out; its sshd log says which
        "#]],
    );
}

#[test]
fn our_own_side() {
    check(
        "sh: 1: ssh: not found",
        &expect![[r#"
        error: cannot connect to `build@bigbox:2222` by ssh
        cause: cannot start `ssh`
        cause: ssh said `sh: 1: ssh: not found`
        help: install OpenSSH's client (`apt install openssh-client`)
    "#]],
    );
    check(
        "command-line: line 0: Bad configuration option: frobnicate",
        &expect![[r#"
            error: cannot connect to `build@bigbox:2222` by ssh
            cause: ssh does not accept its options
            cause: ssh said `command-line: line 0: Bad configuration option: frobnicate`
            help: look at `NIX_SSHOPTS` and at `~/.ssh/config`
        "#]],
    );
    check(
        "something no version of ssh says today",
        &expect![[r#"
        error: cannot connect to `build@bigbox:2222` by ssh
        cause: ssh ended with status 255
        cause: ssh said `something no version of ssh says today`
    "#]],
    );
    check(
        "",
        &expect![[r#"
        error: cannot connect to `build@bigbox:2222` by ssh
        cause: ssh ended with status 255
        cause: ssh said nothing
    "#]],
    );
}

#[test]
fn a_silent_connection_tells_how_far_it_came() {
    for (said, expected) in [
        ("", "looking up its name"),
        ("debug1: Connecting to h [192.0.2.1] port 22.", "connecting"),
        (
            "debug1: Executing proxy command: exec nc h 22",
            "connecting",
        ),
        (
            "debug1: Connection established.",
            "waiting for an ssh server's greeting",
        ),
        (
            "debug1: Remote protocol version 2.0, remote software version OpenSSH_9.2p1",
            "exchanging keys",
        ),
        ("debug1: SSH2_MSG_SERVICE_ACCEPT received", "logging in"),
        (
            "debug1: Entering interactive session.",
            "starting the session",
        ),
    ] {
        assert_eq!(
            read(said).timed_out(GIVEN).to_string(),
            format!("no answer within 10 s while {expected}")
        );
    }
}

#[test]
fn only_the_last_words_are_kept() {
    let said: String = (0..100).map(|line| format!("line {line}\n")).collect();
    let lines = read(&said).output().lines;
    assert_eq!(lines.len(), super::KEPT);
    assert_eq!(lines.last().map(String::as_str), Some("line 99"));
}
