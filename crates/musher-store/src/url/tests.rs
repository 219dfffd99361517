//! Each URL beside what it means, and beside what is wrong with it.

use expect_test::{Expect, expect};

use super::{SshProtocol, StoreUrl, UrlError};

/// `ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA== root@host`, in base64.
const KEY: &str = "c3NoLWVkMjU1MTkgQUFBQUMzTnphQzFsWkRJMU5URTVBQUFBSUE9PSByb290QGhvc3QK";

#[track_caller]
fn check(url: &str, expected: &Expect) {
    let text = match url.parse::<StoreUrl>() {
        Ok(store) => format!("{store:#?}\n{store}\n"),
        Err(error) => describe(&error),
    };
    expected.assert_eq(&text);
}

fn describe(error: &UrlError) -> String {
    use std::error::Error;
    let mut text = format!("error: {error}\n");
    if let Some(source) = error.source() {
        text += &format!("cause: {source}\n");
    }
    if let Some(help) = error.help() {
        text += &format!("help: {help}\n");
    }
    text
}

#[test]
fn ssh_ng_with_every_parameter() {
    check(
        &format!(
            "ssh-ng://build@bigbox:2222?ssh-key=/root/.ssh/id%20x&base64-ssh-public-host-key={KEY}\
             &remote-program=/usr/bin/musher%20serve%20--class%20big&remote-store=/srv/a%3Froot%3D/b\
             &compress=true&max-connections=4&store=/gnu/store&system-features=kvm%20big-parallel"
        ),
        &expect![[r#"
            Ssh(
                SshStore {
                    protocol: Worker,
                    authority: Authority {
                        user: Some(
                            "build",
                        ),
                        host: Host(
                            "bigbox",
                        ),
                        port: Some(
                            2222,
                        ),
                    },
                    key: Some(
                        "/root/.ssh/id x",
                    ),
                    host_key: Some(
                        HostKey(
                            [
                                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA== root@host",
                            ],
                        ),
                    ),
                    remote_program: [
                        "/usr/bin/musher",
                        "serve",
                        "--class",
                        "big",
                    ],
                    remote_store: Some(
                        "/srv/a?root=/b",
                    ),
                    compress: true,
                    max_connections: Some(
                        4,
                    ),
                    store_dir: Some(
                        "/gnu/store",
                    ),
                    system_features: [
                        "kvm",
                        "big-parallel",
                    ],
                },
            )
            ssh-ng://build@bigbox:2222?ssh-key=/root/.ssh/id%20x&base64-ssh-public-host-key=c3NoLWVkMjU1MTkgQUFBQUMzTnphQzFsWkRJMU5URTVBQUFBSUE9PSByb290QGhvc3QK&remote-program=/usr/bin/musher%20serve%20--class%20big&remote-store=/srv/a%3Froot=/b&compress=true&max-connections=4&store=/gnu/store&system-features=kvm%20big-parallel
        "#]],
    );
}

#[test]
fn other_kinds() {
    check(
        "unix:///run/nix.sock?root=/mnt",
        &expect![[r#"
        Daemon(
            DaemonStore {
                socket: Some(
                    "/run/nix.sock",
                ),
                params: LocalParams {
                    root: Some(
                        "/mnt",
                    ),
                    store_dir: None,
                    system_features: [],
                },
            },
        )
        unix:///run/nix.sock?root=/mnt
    "#]],
    );
    check(
        "daemon",
        &expect![[r#"
        Daemon(
            DaemonStore {
                socket: None,
                params: LocalParams {
                    root: None,
                    store_dir: None,
                    system_features: [],
                },
            },
        )
        daemon
    "#]],
    );
    check(
        "auto",
        &expect![[r#"
        Auto(
            LocalParams {
                root: None,
                store_dir: None,
                system_features: [],
            },
        )
        auto
    "#]],
    );
    check(
        "/srv/store?store=/gnu/store",
        &expect![[r#"
        Local(
            LocalParams {
                root: Some(
                    "/srv/store",
                ),
                store_dir: Some(
                    "/gnu/store",
                ),
                system_features: [],
            },
        )
        local?root=/srv/store&store=/gnu/store
    "#]],
    );
    check(
        "local?root=/srv/a%20b",
        &expect![[r#"
        Local(
            LocalParams {
                root: Some(
                    "/srv/a b",
                ),
                store_dir: None,
                system_features: [],
            },
        )
        local?root=/srv/a%20b
    "#]],
    );
}

#[test]
fn what_is_refused() {
    check(
        "",
        &expect![[r#"
        error: the store URL is empty
    "#]],
    );
    check(
        "s3://bucket",
        &expect![[r#"
        error: unknown kind of store `s3://`
        help: stores are `ssh-ng://HOST`, `ssh://HOST`, `unix:///SOCKET`, `daemon`, `auto`, `local` or an absolute path
    "#]],
    );
    check(
        "./store",
        &expect![[r#"
        error: `./store` is not an absolute path
        help: write the path in full, from `/` on
    "#]],
    );
    check(
        "ssh://h?sshkey=/x",
        &expect![[r#"
        error: unknown parameter `sshkey` for a store of kind `ssh`
        help: did you mean `ssh-key`? known: ssh-key, base64-ssh-public-host-key, remote-program, remote-store, compress, max-connections, store, system-features
    "#]],
    );
    check(
        "unix:///s?frobnicate=1",
        &expect![[r#"
        error: unknown parameter `frobnicate` for a store of kind `unix`
        help: known: root, store, system-features
    "#]],
    );
    check(
        "ssh://h?compress=maybe",
        &expect![[r#"
        error: parameter `compress` is `maybe`, expected `true` or `false`
    "#]],
    );
    check(
        "ssh://h?max-connections=0",
        &expect![[r#"
        error: parameter `max-connections` is `0`, expected a number greater than 0
    "#]],
    );
    check(
        "ssh://h?compress=1&compress=0",
        &expect![[r#"
        error: parameter `compress` is given twice
    "#]],
    );
    check(
        "ssh://h?ssh-key=%2",
        &expect![[r#"
        error: `%2` is not valid percent-encoding
        help: a literal `%` is written `%25`
    "#]],
    );
    check(
        "ssh://h?base64-ssh-public-host-key=AAAA",
        &expect![[r#"
            error: parameter `base64-ssh-public-host-key` cannot be read
            cause: decoded it is not `TYPE KEY`, but `\u{0}\u{0}\u{0}`
            help: the value is printed on the host by `base64 -w0 /etc/ssh/ssh_host_ed25519_key.pub`
        "#]],
    );
    check(
        "ssh://h?base64-ssh-public-host-key=%21",
        &expect![[r#"
        error: parameter `base64-ssh-public-host-key` cannot be read
        cause: it is not base64
        help: the value is printed on the host by `base64 -w0 /etc/ssh/ssh_host_ed25519_key.pub`
    "#]],
    );
    check(
        "ssh://h/srv/store",
        &expect![[r#"
        error: an ssh store takes no path, found `/srv/store` after the host
        help: a store's root on the other host is given by `remote-store`
    "#]],
    );
    check(
        "local:///a?root=/b",
        &expect![[r#"
        error: the store's root is given twice, as the path and as `root`
    "#]],
    );
}

#[test]
fn names_that_ssh_or_a_shell_would_misread_are_refused() {
    for url in [
        "ssh://-oProxyCommand=x",
        "ssh://%2doProxyCommand=x",
        "ssh://-l@host",
        "ssh://root@-oProxyCommand=x",
        "ssh://",
        "ssh://user@",
        "ssh://@host",
        "ssh://a%20b",
        "ssh://$(id)",
        "ssh://a;b@host",
        "ssh://a%0ab@host",
        "ssh://h:0",
        "ssh://h:65536",
        "ssh://h:+22",
        "ssh://h:",
        "ssh://[::1",
        "ssh://[::1]x",
        "ssh://::1:z",
        "-oProxyCommand=x",
    ] {
        assert!(url.parse::<StoreUrl>().is_err(), "{url} is accepted");
    }
}

#[test]
fn who_and_where() {
    for (url, user, host, port) in [
        ("ssh://h", None, "h", None),
        ("ssh-ng://u@h:2222", Some("u"), "h", Some(2222)),
        ("ssh://h/", None, "h", None),
        ("u@h", Some("u"), "h", None),
        ("h:2222?compress=1", None, "h", Some(2222)),
        ("ssh://u@corp@h", Some("u@corp"), "h", None),
        ("ssh://[::1]", None, "::1", None),
        (
            "ssh://u@[fe80::1%25eth0]:22",
            Some("u"),
            "fe80::1%eth0",
            Some(22),
        ),
        ("ssh://fe80::1", None, "fe80::1", None),
    ] {
        let Ok(StoreUrl::Ssh(store)) = url.parse() else {
            panic!("{url} is not understood");
        };
        let authority = &store.authority;
        assert_eq!(authority.user.as_deref(), user, "{url}");
        assert_eq!(authority.host.as_str(), host, "{url}");
        assert_eq!(authority.port, port, "{url}");
        // What is printed means the same.
        assert_eq!(store.to_string().parse(), Ok(StoreUrl::Ssh(store)), "{url}");
    }
}

#[test]
fn remote_commands() {
    for (url, command) in [
        ("ssh-ng://h", "nix-daemon --stdio"),
        ("ssh://h", "nix-store --serve --write"),
        (
            "ssh-ng://h?remote-program=sudo%20nix-daemon&remote-store=/a%20b",
            "sudo nix-daemon --stdio --store '/a b'",
        ),
        (
            "ssh://h?remote-store=daemon",
            "nix-store --serve --write --store daemon",
        ),
    ] {
        let Ok(StoreUrl::Ssh(store)) = url.parse() else {
            panic!("{url} is not understood");
        };
        assert_eq!(shell_words::join(store.remote_command()), command);
    }
}

#[test]
fn schemes_tell_the_protocol() {
    for (url, protocol) in [
        ("ssh-ng://h", SshProtocol::Worker),
        ("ssh://h", SshProtocol::Serve),
        ("h", SshProtocol::Serve),
    ] {
        let Ok(StoreUrl::Ssh(store)) = url.parse() else {
            panic!("{url} is not understood");
        };
        assert_eq!(store.protocol, protocol);
    }
}

#[test]
fn a_host_key_becomes_known_hosts_lines() {
    let key = super::HostKey::from_base64(KEY);
    assert_eq!(
        key.map(|key| key.known_hosts("bigbox")),
        Ok("bigbox ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA== root@host\n".into())
    );
}
