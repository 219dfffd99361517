//! Files that are not the build's, and what no file in a store may have.

use expect_test::expect;
use musher_sandbox::MountCalls;

use crate::stage::{self, Stage};
use crate::{check_both, check_refusals, check_refusals_on};

const DIRECTORY: &str = "/nix/store/00000000000000000000000000000000-directory";

#[test]
fn what_is_not_the_builds_stays_as_it_is() {
    check_refusals(
        &[
            "write /x",
            "write /etc/passwd",
            "unlink /etc/passwd",
            "write /etc/x",
            "write /dev/x",
            "unlink /dev/null",
            "mknod /build/null",
            "mkdir /homeless-shelter",
            "write /trial",
            "chmod 777 /trial",
            "write /build/x",
            "write /tmp/x",
            "write /nix/store/44444444444444444444444444444444-output",
            "write /dev/shm/x",
            "write /dev/null",
        ],
        &expect![[r#"
            write /x: refused
            write /etc/passwd: refused
            unlink /etc/passwd: refused
            write /etc/x: refused
            write /dev/x: refused
            unlink /dev/null: refused
            mknod /build/null: refused
            mkdir /homeless-shelter: refused
            write /trial: refused
            chmod 777 /trial: refused
            write /build/x: done
            write /tmp/x: done
            write /nix/store/44444444444444444444444444444444-output: done
            write /dev/shm/x: done
            write /dev/null: done
        "#]],
    );
}

#[test]
fn inputs_cannot_be_changed_whichever_calls_mounted_them() {
    for mounts in [MountCalls::Detect, MountCalls::Old] {
        for who in stage::whos() {
            eprintln!("{who:?} {mounts:?}");
            let stage = Stage {
                mounts,
                ..Stage::new(who)
            };
            let deeds = [
                "read {}/f",
                "chmod 777 {}",
                "chmod 777 {}/f",
                "write {}/f",
                "write {}/new",
                "unlink {}/f",
                "rename {} /nix/store/moved",
                "rmdir {}",
                "umount {}",
                "remount-rw {}",
                "read /nix/store/11111111111111111111111111111111-file",
                "write /nix/store/11111111111111111111111111111111-file",
                "link /nix/store/22222222222222222222222222222222-link",
            ];
            let deeds = deeds.map(|deed| deed.replace("{}", DIRECTORY));
            let deeds: Vec<&str> = deeds.iter().map(String::as_str).collect();
            check_refusals_on(
                &stage,
                &deeds,
                &expect![[r#"
                read /nix/store/00000000000000000000000000000000-directory/f: an input
                chmod 777 /nix/store/00000000000000000000000000000000-directory: refused
                chmod 777 /nix/store/00000000000000000000000000000000-directory/f: refused
                write /nix/store/00000000000000000000000000000000-directory/f: refused
                write /nix/store/00000000000000000000000000000000-directory/new: refused
                unlink /nix/store/00000000000000000000000000000000-directory/f: refused
                rename /nix/store/00000000000000000000000000000000-directory /nix/store/moved: refused
                rmdir /nix/store/00000000000000000000000000000000-directory: refused
                umount /nix/store/00000000000000000000000000000000-directory: refused
                remount-rw /nix/store/00000000000000000000000000000000-directory: refused
                read /nix/store/11111111111111111111111111111111-file: an input
                write /nix/store/11111111111111111111111111111111-file: refused
                link /nix/store/22222222222222222222222222222222-link: 00000000000000000000000000000000-directory
            "#]],
            );
        }
    }
}

#[test]
fn other_paths_of_the_store_and_other_builds_are_out_of_sight() {
    for who in stage::whos() {
        let (stage, other) = (Stage::new(who), Stage::new(who));
        let real = stage.request.store.real.display();
        let deeds = [
            "list /nix/store/33333333333333333333333333333333-other".to_owned(),
            format!("list {real}"),
            format!("list {}", other.request.build_dir.display()),
            format!("list {}", other.request.scratch.display()),
        ];
        let deeds: Vec<&str> = deeds.iter().map(String::as_str).collect();
        let said = stage.run(&deeds).said;
        let refusals = said
            .lines()
            .filter(|line| line.ends_with(": ENOENT"))
            .count();
        assert_eq!(refusals, deeds.len(), "{said}");
    }
}

#[test]
fn no_file_gets_setuid_or_setgid_bits_by_any_call() {
    check_both(
        &[
            "write /build/f",
            "chmod 4755 /build/f",
            "chmod 2755 /build/f",
            "chmod-by fchmod 4755 /build/f",
            "chmod-by fchmodat 4755 /build/f",
            "chmod-by fchmodat2 4755 /build/f",
            "chmod-by x32 4755 /build/f",
            "chmod-by 32-bit 4755 /build/f",
            "create 4755 /build/g",
            "mode /build/f",
            "chmod 755 /build/f",
            "chmod-by 32-bit 700 /build/f",
            "mode /build/f",
            "chmod 1777 /build",
        ],
        &expect![[r#"
            write /build/f: done
            chmod 4755 /build/f: EPERM
            chmod 2755 /build/f: EPERM
            chmod-by fchmod 4755 /build/f: EPERM
            chmod-by fchmodat 4755 /build/f: EPERM
            chmod-by fchmodat2 4755 /build/f: EPERM
            chmod-by x32 4755 /build/f: EPERM
            chmod-by 32-bit 4755 /build/f: EPERM
            create 4755 /build/g: EPERM
            mode /build/f: 644
            chmod 755 /build/f: done
            chmod-by 32-bit 700 /build/f: done
            mode /build/f: 700
            chmod 1777 /build: done
        "#]],
    );
}

#[test]
fn programs_of_32_bits_run() {
    check_both(
        &["getpid-32"],
        &expect![[r#"
        getpid-32: 1
    "#]],
    );
}

#[test]
fn attributes_are_not_there() {
    check_both(
        &["write /build/f", "setxattr /build/f", "getxattr /build/f"],
        &expect![[r#"
            write /build/f: done
            setxattr /build/f: ENOTSUP
            getxattr /build/f: ENOTSUP
        "#]],
    );
}

#[test]
fn nothing_can_be_mounted() {
    check_both(
        &[
            "mount tmpfs /tmp",
            "mount proc /proc",
            "bind /tmp /build",
            "umount /proc",
            "umount /",
            "remount-rw /",
            "chroot /build",
            "setuid 0",
        ],
        &expect![[r#"
            mount tmpfs /tmp: EPERM
            mount proc /proc: EPERM
            bind /tmp /build: EPERM
            umount /proc: EPERM
            umount /: EPERM
            remount-rw /: EPERM
            chroot /build: EPERM
            setuid 0: EINVAL
        "#]],
    );
}

#[test]
fn a_user_namespace_in_it_gives_no_power_over_what_is_there() {
    let deeds = [
        "unshare-user",
        "status CapEff",
        "remount-rw {}",
        "write {}/f",
        "chmod 777 {}/f",
        "umount {}",
        "umount /nix/store",
        "umount /build",
        "umount /proc",
        "umount /",
        "remount-rw /",
        "write /x",
        "bind /nix/store /tmp",
        "write /tmp/00000000000000000000000000000000-directory/f",
        "rename {} /nix/store/moved",
        "mount tmpfs /build",
        "write /build/only-in-this-namespace",
    ];
    let deeds = deeds.map(|deed| deed.replace("{}", DIRECTORY));
    let deeds: Vec<&str> = deeds.iter().map(String::as_str).collect();
    check_refusals(
        &deeds,
        &expect![[r#"
        unshare-user: done
        status CapEff: 000001ffffffffff
        remount-rw /nix/store/00000000000000000000000000000000-directory: refused
        write /nix/store/00000000000000000000000000000000-directory/f: refused
        chmod 777 /nix/store/00000000000000000000000000000000-directory/f: refused
        umount /nix/store/00000000000000000000000000000000-directory: EINVAL
        umount /nix/store: EINVAL
        umount /build: EINVAL
        umount /proc: EINVAL
        umount /: EINVAL
        remount-rw /: refused
        write /x: refused
        bind /nix/store /tmp: EINVAL
        write /tmp/00000000000000000000000000000000-directory/f: ENOENT
        rename /nix/store/00000000000000000000000000000000-directory /nix/store/moved: refused
        mount tmpfs /build: done
        write /build/only-in-this-namespace: done
    "#]],
    );
}

#[test]
fn settings_of_the_kernel_cannot_be_written() {
    check_both(
        &[
            "write /proc/sys/kernel/hostname",
            "write /proc/sys/kernel/core_pattern",
            "write /proc/sys/vm/overcommit_memory",
            "write /proc/sys/net/ipv4/ip_forward",
            "write /proc/sys/user/max_user_namespaces",
        ],
        &expect![[r#"
            write /proc/sys/kernel/hostname: EACCES
            write /proc/sys/kernel/core_pattern: EACCES
            write /proc/sys/vm/overcommit_memory: EACCES
            write /proc/sys/net/ipv4/ip_forward: EACCES
            write /proc/sys/user/max_user_namespaces: EACCES
        "#]],
    );
}
