//! What `musher store` says where no store answers.

use expect_test::expect;

use super::support::{Place, has_nix};

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

#[test]
fn a_store_on_disk_is_filled_verified_and_emptied() {
    let place = Place::with(&[("musher.toml", ""), ("hello.txt", "hello")]);
    place.check(
        "store verify --store DIR/store",
        &expect![[r#"
            exit 2
            --- messages
            error: cannot open the store `DIR/store`
            cause: there is no store at `DIR/store`
        "#]],
    );
    place.check(
        "store add hello.txt --store DIR/store",
        &expect![[r#"
        exit 0
        /nix/store/xfp2hphvk98rkk9ywlqpp587rjdcgnc2-hello.txt
    "#]],
    );
    place.check(
        "store verify --check-contents --store DIR/store",
        &expect![[r#"
            exit 0
            --- messages
            note:  1 path, 120 B read, no damage
        "#]],
    );
    place.check(
        "store gc --dry-run --json --store DIR/store",
        &expect![[r#"
            exit 0
            {
              "paths": [
                "/nix/store/xfp2hphvk98rkk9ywlqpp587rjdcgnc2-hello.txt"
              ],
              "freed-bytes": 120,
              "strays": 0,
              "live": 0,
              "dry-run": true
            }
            --- messages
            note:  1 path could be deleted, 120 B
        "#]],
    );
    place.check(
        "store gc --max-store-size 1G --store DIR/store",
        &expect![[r#"
        exit 0
        --- messages
        note:  0 paths deleted, 0 B freed
    "#]],
    );
    place.check(
        "store add . other --name x --store DIR/store",
        &expect![[r#"
        exit 2
        --- messages
        error: only one file can have the name `x`
    "#]],
    );
    place.check("store gc --max-freed 1X --store DIR/store", &expect![[r#"
        exit 2
        --- messages
        error: invalid value '1X' for '--max-freed <SIZE>': expected a size like `100M`, `2G` (powers of 1024), or bytes

        For more information, try '--help'.
    "#]]);
}

/// Nobody is led to another store than the one that was named.
#[test]
fn stores_of_others_are_looked_after_by_them() {
    let place = Place::with(&[("musher.toml", "")]);
    for (url, advice) in [
        (
            "ssh://you@host:22",
            "run this on `host`, on the store's directory, or there `nix-store --gc` and `nix-store --verify`",
        ),
        (
            "daemon",
            "`nix-store --gc` and `nix-store --verify` ask its daemon; as the owner of its files name them: `local`",
        ),
        (
            "daemon?root=/srv",
            "`nix-store --gc` and `nix-store --verify` ask its daemon; as the owner of its files name them: `local?root=/srv`",
        ),
        (
            "unix:///srv/socket",
            "`nix-store --gc` and `nix-store --verify` ask its daemon; as the owner of its files name their directory",
        ),
    ] {
        let told = place.run(&format!("store gc --store {url}"));
        let expected = format!(
            "exit 2\n--- messages\nerror: the store `{url}` is behind a daemon or on another host, \
             which looks after it itself\nhelp:  {advice}\n"
        );
        assert_eq!(told, expected);
    }
}

/// Where no Nix is, every command means the same store by `auto`.
#[test]
fn without_nix_auto_is_one_store() {
    if has_nix() {
        return;
    }
    let place = Place::with(&[("musher.toml", ""), ("hello.txt", "hello")]);
    let added = &expect![[r#"
        exit 0
        /nix/store/xfp2hphvk98rkk9ywlqpp587rjdcgnc2-hello.txt
    "#]];
    place.check("store add hello.txt --state DIR/state", added);
    let lies = "state/home/nix/store/xfp2hphvk98rkk9ywlqpp587rjdcgnc2-hello.txt";
    let (lies, link) = (place.path().join(lies), place.path().join("result"));
    std::os::unix::fs::symlink(lies, link).expect("a link");
    let info = &expect![[r#"
        exit 0
        /nix/store/xfp2hphvk98rkk9ywlqpp587rjdcgnc2-hello.txt
          hash  sha256:0sg9f58l1jj88w6pdrfdpj5x9b1zrwszk84j81zvby36q9whhhqa
          size  120 B
          ca    fixed:r:sha256:0sg9f58l1jj88w6pdrfdpj5x9b1zrwszk84j81zvby36q9whhhqa
    "#]];
    place.check("store path-info ./result --state DIR/state", info);
    let copied = place.run("store copy ./result --to DIR/other --state DIR/state");
    assert!(copied.contains("copied 1 of 1 paths"), "{copied}");
    let verified = &expect![[r#"
        exit 0
        --- messages
        note:  1 path, no damage
    "#]];
    place.check("store verify --state DIR/state", verified);
    let told = place.run("store info --json --state DIR/state");
    assert!(told.contains("\"kind\": \"local\""), "{told}");
    assert!(told.contains("\"root\": \"DIR/state/home\""), "{told}");
    let pinged = place.run("store ping --state DIR/state");
    assert!(pinged.starts_with("exit 0\n"), "{pinged}");
}

#[test]
fn looking_after_a_store_has_help() {
    let place = Place::with(&[("musher.toml", "")]);
    place.check("store verify -h", &expect![[r#"
        exit 0
        Compare what a store on this disk should hold with what it holds

        Usage: musher store verify [OPTIONS]

        Options:
              --store <URL>     The store: a directory, local, or auto where no Nix is installed [default:
                                auto]
              --check-contents  Read all contents and compare their hashes
              --forget          Make paths invalid whose files are gone, if nothing that is there needs them
          -h, --help            Print help (see more with '--help')

        Global options:
              --config <FILE>  The configuration; machines in Nix's format are read from the file `machines`
                               beside it
              --run <DIR>      The directory of sockets
              --state <DIR>    The directory of what is kept
              --json           Print data as JSON
          -v, --verbose        Print what is going on inside; MUSHER_LOG chooses more finely
    "#]]);
    place.check("store gc -h", &expect![[r#"
        exit 0
        Delete paths from a store on this disk that nothing needs

        Usage: musher store gc [OPTIONS]

        Options:
              --store <URL>            The store: a directory, local, or auto where no Nix is installed
                                       [default: auto]
              --max-freed <SIZE>       Stop once this much is free that was not: 500M, 2G, or bytes
              --max-store-size <SIZE>  Delete only while the store is larger than this
              --min-free <SIZE>        Delete only while less than this is free on the disk
              --no-keep-derivations    Delete derivations as well whose outputs are needed
              --keep-outputs           Keep outputs as well whose derivations are needed
              --dry-run                Only say what could be deleted
          -h, --help                   Print help (see more with '--help')

        Global options:
              --config <FILE>  The configuration; machines in Nix's format are read from the file `machines`
                               beside it
              --run <DIR>      The directory of sockets
              --state <DIR>    The directory of what is kept
              --json           Print data as JSON
          -v, --verbose        Print what is going on inside; MUSHER_LOG chooses more finely
    "#]]);
}

#[test]
fn damage_is_listed() {
    let place = Place::with(&[("musher.toml", ""), ("hello.txt", "hello")]);
    place.check(
        "store add hello.txt --store DIR/store",
        &expect![[r#"
        exit 0
        /nix/store/xfp2hphvk98rkk9ywlqpp587rjdcgnc2-hello.txt
    "#]],
    );
    let path = place.path().join("store/nix/store");
    for entry in std::fs::read_dir(&path).expect("the store") {
        let entry = entry.expect("an entry");
        if entry.file_name() != ".links" {
            std::fs::remove_file(entry.path()).expect("a file");
        }
    }
    place.check(
        "store verify --store DIR/store",
        &expect![[r#"
            exit 1
            `/nix/store/xfp2hphvk98rkk9ywlqpp587rjdcgnc2-hello.txt` is gone
            --- messages
            note:  1 path, 1 damage
        "#]],
    );
    place.check(
        "store verify --forget --store DIR/store",
        &expect![[r#"
            exit 1
            `/nix/store/xfp2hphvk98rkk9ywlqpp587rjdcgnc2-hello.txt` is gone; it is not valid any more
            --- messages
            note:  1 path, 1 damage
        "#]],
    );
    place.check(
        "store verify --store DIR/store",
        &expect![[r#"
        exit 0
        --- messages
        note:  0 paths, no damage
    "#]],
    );
}
