//! What a build sees.

use expect_test::expect;

use crate::check_both;

#[test]
fn a_build_sees_what_nix_shows_it() {
    check_both(
        &[
            "ids",
            "hostname",
            "domainname",
            "umask",
            "cwd",
            "env",
            "list /",
            "list /dev",
            "list /nix/store",
            "list /etc",
            "show /etc/passwd",
            "show /etc/group",
            "show /etc/hosts",
            "list /proc",
            "list /proc/self/fd",
            "show /proc/self/personality",
            "status NoNewPrivs",
            "status Seccomp",
            "status CapEff",
            "status CapPrm",
            "status SigBlk",
            "status SigIgn",
            "status Groups",
        ],
        &expect![[r#"
            ids: pid 1 sid 1 uid 1000 gid 100
            hostname: localhost
            domainname: (none)
            umask: 22
            cwd: /build
            env: A=1
            list /: build dev etc nix proc tmp trial
            list /dev: fd full null ptmx pts random shm stderr stdin stdout tty urandom zero
            list /nix/store: 00000000000000000000000000000000-directory 11111111111111111111111111111111-file 22222222222222222222222222222222-link
            list /etc: group hosts passwd
            root:x:0:0:Nix build user:/build:/noshell
            nixbld:x:1000:100:Nix build user:/build:/noshell
            nobody:x:65534:65534:Nobody:/:/noshell
            root:x:0:
            nixbld:!:100:
            nogroup:x:65534:
            127.0.0.1 localhost
            ::1 localhost
            list /proc: 1
            list /proc/self/fd: 0 1 2 3
            00040000
            status NoNewPrivs: 1
            status Seccomp: 2
            status CapEff: 0000000000000000
            status CapPrm: 0000000000000000
            status SigBlk: 0000000000000000
            status SigIgn: 0000000000001000
            status Groups: done
        "#]],
    );
}
