//! What `musher store` says where no store answers.

use expect_test::expect;

use super::support::Place;

#[test]
fn urls_are_checked_before_anything_is_connected() {
    let place = Place::with(&[("musher.toml", "")]);
    place.check("store ping --store foo://x", &expect![[r#"
        exit 2
        --- messages
        error: cannot understand the store `foo://x`
        cause: unknown kind of store `foo://`
        help:  stores are `ssh-ng://HOST`, `ssh://HOST`, `unix:///SOCKET`, `daemon`, `auto`, `local` or an absolute path
    "#]]);
    place.check(
        "store info --store ssh://host?ssh_key=/root/key",
        &expect![[r#"
            exit 2
            --- messages
            error: cannot understand the store `ssh://host?ssh_key=/root/key`
            cause: unknown parameter `ssh_key` for a store of kind `ssh`
            help:  did you mean `ssh-key`? known: ssh-key, base64-ssh-public-host-key, remote-program, remote-store, compress, max-connections, store, system-features
        "#]],
    );
    place.check(
        "store ping --store relative/path",
        &expect![[r#"
        exit 2
        --- messages
        error: cannot understand the store `relative/path`
        cause: `relative/path` is not an absolute path
        help:  write the path in full, from `/` on
    "#]],
    );
    place.check(
        "store copy /x",
        &expect![[r#"
            exit 2
            --- messages
            error: the following required arguments were not provided:
              <--from <URL>|--to <URL>>

            Usage: musher store copy <--from <URL>|--to <URL>> <PATHS>...

            For more information, try '--help'.
        "#]],
    );
}

#[test]
fn a_daemon_that_is_not_there() {
    let place = Place::with(&[("musher.toml", "")]);
    place.check(
        "store ping --store unix://DIR/socket",
        &expect![[r#"
        exit 3
        --- messages
        error: cannot reach `unix://DIR/socket`
        cause: cannot open the store
        cause: cannot connect to socket `DIR/socket`
        cause: No such file or directory (os error 2)
        help:  start the daemon, or name its socket as `unix:///PATH`
    "#]],
    );
    place.check(
        "store path-info /nowhere --store unix://DIR/socket",
        &expect![[r#"
            exit 2
            --- messages
            error: cannot follow `/nowhere`
            cause: No such file or directory (os error 2)
        "#]],
    );
}
