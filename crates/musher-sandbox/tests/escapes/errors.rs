//! What goes wrong in the set-up is told apart from how a program ends.

use expect_test::{Expect, expect};
use musher_sandbox::{Bind, Identity, Ids, Status};

use crate::stage::{self, Stage, Who};

#[track_caller]
fn check(who: Who, change: impl FnOnce(&mut Stage), expected: &Expect) {
    if !stage::can(who) {
        return;
    }
    let mut stage = Stage::new(who);
    change(&mut stage);
    let told = stage.run(&["exit 0"]).ended.expect_err("no sandbox");
    expected.assert_eq(&told);
}

#[test]
fn a_missing_input_is_named() {
    check(
        Who::Rootless,
        |stage| {
            stage.request.store.real = "/var/empty-store".into();
        },
        &expect![[r#"
            cannot make the sandbox: cannot find `/var/empty-store`: No such file or directory (os error 2)
        "#]],
    );
}

#[test]
fn a_missing_program_is_named() {
    check(
        Who::Rootless,
        |stage| stage.request.program = "/nix/store/no-such-program".into(),
        &expect![[r#"
            cannot make the sandbox: cannot run `/nix/store/no-such-program`: No such file or directory (os error 2)
        "#]],
    );
}

#[test]
fn a_missing_sandbox_path_is_named() {
    let bind = Bind {
        source: "/no/such/file".into(),
        target: "/bin/sh".into(),
        writable: false,
        optional: false,
    };
    check(
        Who::Rootless,
        |stage| stage.request.binds.push(bind),
        &expect![[r#"
            cannot make the sandbox: cannot find `/no/such/file`: No such file or directory (os error 2)
        "#]],
    );
}

#[test]
fn a_sandbox_path_does_not_lead_out_through_a_link() {
    let binds = [
        "/lib=/proc/self/cwd",
        "/lib/x=/trial-that-is-not-there?",
        "/lib/y=/dev/null",
    ];
    check(
        Who::Rootless,
        |stage| stage.request.binds.extend(binds.map(Bind::parse)),
        &expect![[r#"
            cannot make the sandbox: cannot make a place to mount on `/lib/y`: Too many levels of symbolic links (os error 40)
        "#]],
    );
}

#[test]
fn a_program_that_is_this_very_one_is_not_run() {
    check(
        Who::Rootless,
        |stage| stage.request.program = "/proc/self/exe".into(),
        &expect![[r#"
            cannot make the sandbox: cannot run `/proc/self/exe`: Permission denied (os error 13)
        "#]],
    );
    check(
        Who::Rootless,
        |stage| {
            let script = stage.request.build_dir.join("script");
            std::fs::write(&script, "#! /proc/self/exe deed\n").expect("a file");
            let all = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(&script, all).expect("a file");
            stage.request.program = "/build/script".into();
        },
        &expect![[r#"
            cannot make the sandbox: cannot run `/proc/self/exe`: Permission denied (os error 13)
        "#]],
    );
}

#[test]
fn root_builds_nothing_with_ids_of_its_own_choice() {
    check(
        Who::Root,
        |stage| stage.request.identity = Identity::Rootless,
        &expect![[r#"
            cannot make the sandbox: cannot become the build's user: Operation not permitted (os error 1)
        "#]],
    );
    let slot = Identity::Slot(Ids {
        uid: 64_997,
        gid: 64_997,
    });
    check(
        Who::Rootless,
        |stage| stage.request.identity = slot,
        &expect![[r#"
            cannot make the sandbox: cannot become the build's user: Operation not permitted (os error 1)
        "#]],
    );
}

#[test]
fn a_failing_program_is_no_error() {
    for who in stage::whos() {
        let ended = Stage::new(who).run(&["exit 1"]).ended.expect("a sandbox");
        assert_eq!(ended.status, Status::Exited(1));
    }
}
