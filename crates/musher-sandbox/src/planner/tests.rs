//! Plans as data: a line a step.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use expect_test::{Expect, expect};

use super::plan;
use crate::plan::{Plan, Step};
use crate::request::{Bind, Identity, Ids, Isolation, Network, Personality, Request, StoreView};

fn request() -> Request {
    Request {
        isolation: Isolation::Full,
        program: "/nix/store/0-bash/bin/bash".into(),
        args: vec!["bash".into(), "-e".into()],
        env: vec![("out".into(), "/nix/store/2-out".into())],
        store: StoreView {
            dir: "/nix/store".into(),
            real: "/home/u/store/nix/store".into(),
            inputs: ["1-b", "0-bash"].map(str::to_owned).into(),
        },
        scratch: "/home/u/scratch".into(),
        build_dir: "/home/u/build".into(),
        build_dir_inside: "/build".into(),
        binds: vec![Bind::parse("/bin/sh=/usr/bin/busybox?")],
        network: Network::Loopback,
        identity: Identity::Rootless,
        inside: Ids::NIXBLD,
        personality: Personality::Native,
        kvm: false,
        filter_syscalls: true,
        shm_size: "50%".to_owned(),
        limits: crate::Limits::default(),
        cgroup: Vec::new(),
    }
}

/// A line a step.
fn show(plan: &Plan) -> String {
    plan.steps.iter().map(|step| line(step) + "\n").collect()
}

fn line(step: &Step) -> String {
    match step {
        Step::Directory { path, mode } => format!("directory {} {mode:o}", path.display()),
        Step::File { path, text } => format!("file {} {text:?}", path.display()),
        Step::Link { path, to } => format!("link {} -> {}", path.display(), to.display()),
        Step::Own {
            source,
            target,
            mode,
        } => {
            let mode = mode.map_or_else(|| "as it is".to_owned(), |mode| format!("{mode:o}"));
            format!("own {} <- {} ({mode})", target.display(), source.display())
        }
        Step::Bind { bind, follow } => {
            let words = [
                (bind.writable, " writable"),
                (bind.optional, " optional"),
                (*follow, " follow"),
            ];
            let words: String = words
                .iter()
                .filter(|(is, _)| *is)
                .map(|(_, word)| *word)
                .collect();
            format!(
                "bind {} <- {}{words}",
                bind.target.display(),
                bind.source.display()
            )
        }
        Step::Device { path } => format!("device {}", path.display()),
        Step::Inputs {
            source,
            target,
            names,
        } => {
            format!(
                "inputs {} <- {}: {}",
                target.display(),
                source.display(),
                names.join(" ")
            )
        }
        Step::Proc => "proc".to_owned(),
        Step::Shm { size } => format!("shm {size}"),
        Step::Terminals => "terminals".to_owned(),
        Step::Close { path } => format!("close {}", path.display()),
    }
}

#[track_caller]
fn check(change: impl FnOnce(&mut Request), expected: &Expect) {
    let mut request = request();
    change(&mut request);
    expected.assert_eq(&show(&plan(&request).expect("a plan")));
}

#[track_caller]
fn refused(change: impl FnOnce(&mut Request), expected: &Expect) {
    let mut request = request();
    change(&mut request);
    let told = plan(&request).expect_err("no plan").to_string();
    expected.assert_eq(&(told + "\n"));
}

#[test]
fn a_build_without_network() {
    check(
        |_| {},
        &expect![[r#"
        file /etc/passwd "root:x:0:0:Nix build user:/build:/noshell\nnixbld:x:1000:100:Nix build user:/build:/noshell\nnobody:x:65534:65534:Nobody:/:/noshell\n"
        file /etc/group "root:x:0:\nnixbld:!:100:\nnogroup:x:65534:\n"
        file /etc/hosts "127.0.0.1 localhost\n::1 localhost\n"
        own /nix/store <- /home/u/scratch/store (1775)
        own /tmp <- /home/u/scratch/tmp (1777)
        own /build <- /home/u/build (as it is)
        inputs /nix/store <- /home/u/store/nix/store: 0-bash 1-b
        device /dev/full
        device /dev/null
        device /dev/random
        device /dev/tty
        device /dev/urandom
        device /dev/zero
        link /dev/fd -> /proc/self/fd
        link /dev/stdin -> /proc/self/fd/0
        link /dev/stdout -> /proc/self/fd/1
        link /dev/stderr -> /proc/self/fd/2
        bind /bin/sh <- /usr/bin/busybox optional
        shm 50%
        terminals
        proc
        close /
    "#]],
    );
}

#[test]
fn a_build_with_network_finds_names_and_certificates() {
    let certificates = Some("/etc/ssl/certs/ca-bundle.crt".into());
    check(
        |request| request.network = Network::Host { certificates },
        &expect![[r#"
            file /etc/passwd "root:x:0:0:Nix build user:/build:/noshell\nnixbld:x:1000:100:Nix build user:/build:/noshell\nnobody:x:65534:65534:Nobody:/:/noshell\n"
            file /etc/group "root:x:0:\nnixbld:!:100:\nnogroup:x:65534:\n"
            file /etc/nsswitch.conf "hosts: files dns\nservices: files\n"
            own /nix/store <- /home/u/scratch/store (1775)
            own /tmp <- /home/u/scratch/tmp (1777)
            own /build <- /home/u/build (as it is)
            inputs /nix/store <- /home/u/store/nix/store: 0-bash 1-b
            device /dev/full
            device /dev/null
            device /dev/random
            device /dev/tty
            device /dev/urandom
            device /dev/zero
            link /dev/fd -> /proc/self/fd
            link /dev/stdin -> /proc/self/fd/0
            link /dev/stdout -> /proc/self/fd/1
            link /dev/stderr -> /proc/self/fd/2
            bind /etc/resolv.conf <- /etc/resolv.conf optional follow
            bind /etc/services <- /etc/services optional follow
            bind /etc/hosts <- /etc/hosts optional follow
            bind /etc/ssl/certs/ca-certificates.crt <- /etc/ssl/certs/ca-bundle.crt optional follow
            bind /bin/sh <- /usr/bin/busybox optional
            shm 50%
            terminals
            proc
            close /
        "#]],
    );
}

#[test]
fn settings_come_before_what_is_there_by_default() {
    check(
        |request| {
            let paths = [
                "/dev/null=/dev/zero",
                "/etc/passwd=/x",
                "/opt/b",
                "/opt",
                "/proc",
                "/dev/shm=/y",
            ];
            request.binds = paths.map(Bind::parse).into();
            request.kvm = true;
        },
        &expect![[r#"
            file /etc/group "root:x:0:\nnixbld:!:100:\nnogroup:x:65534:\n"
            file /etc/hosts "127.0.0.1 localhost\n::1 localhost\n"
            own /nix/store <- /home/u/scratch/store (1775)
            own /tmp <- /home/u/scratch/tmp (1777)
            own /build <- /home/u/build (as it is)
            inputs /nix/store <- /home/u/store/nix/store: 0-bash 1-b
            device /dev/full
            device /dev/random
            device /dev/tty
            device /dev/urandom
            device /dev/zero
            device /dev/kvm
            link /dev/fd -> /proc/self/fd
            link /dev/stdin -> /proc/self/fd/0
            link /dev/stdout -> /proc/self/fd/1
            link /dev/stderr -> /proc/self/fd/2
            bind /dev/null <- /dev/zero
            bind /dev/shm <- /y
            bind /etc/passwd <- /x
            bind /opt <- /opt
            bind /opt/b <- /opt/b
            terminals
            proc
            close /
        "#]],
    );
}

#[test]
fn a_whole_dev_is_taken_as_it_is() {
    check(
        |request| request.binds = vec![Bind::same("/dev")],
        &expect![[r#"
            file /etc/passwd "root:x:0:0:Nix build user:/build:/noshell\nnixbld:x:1000:100:Nix build user:/build:/noshell\nnobody:x:65534:65534:Nobody:/:/noshell\n"
            file /etc/group "root:x:0:\nnixbld:!:100:\nnogroup:x:65534:\n"
            file /etc/hosts "127.0.0.1 localhost\n::1 localhost\n"
            own /nix/store <- /home/u/scratch/store (1775)
            own /tmp <- /home/u/scratch/tmp (1777)
            own /build <- /home/u/build (as it is)
            inputs /nix/store <- /home/u/store/nix/store: 0-bash 1-b
            bind /dev <- /dev
            proc
            close /
        "#]],
    );
}

#[test]
fn without_isolation_nothing_is_made() {
    let request = Request {
        isolation: Isolation::None,
        ..request()
    };
    let plan = plan(&request).expect("a plan");
    assert_eq!(plan.steps, []);
    assert!(plan.host_network);
    assert_eq!(plan.program.expect("a program").dir, request.build_dir);
}

#[test]
fn what_cannot_be_meant_is_refused() {
    refused(
        |request| request.program = "".into(),
        &expect![[r#"
        the build program holds a NUL byte, or is empty where it must not be
    "#]],
    );
    refused(
        |request| request.env = vec![("a=b".into(), "c".into())],
        &expect![[r#"
            `a=b` is no name of a variable
        "#]],
    );
    refused(
        |request| request.args.push("a\0b".into()),
        &expect![[r#"
            an argument holds a NUL byte, or is empty where it must not be
        "#]],
    );
    refused(
        |request| request.scratch = "scratch".into(),
        &expect![[r#"
            the scratch directory is `scratch`, which is no plain absolute path
        "#]],
    );
    refused(
        |request| request.binds.push(Bind::parse("/a/../b")),
        &expect![[r#"
            a sandbox path is `/a/../b`, which is no plain absolute path
        "#]],
    );
    refused(
        |request| request.binds.push(Bind::parse("/=/x")),
        &expect![[r#"
            a sandbox path cannot be `/`
        "#]],
    );
    refused(
        |request| request.binds.push(Bind::same("/nix")),
        &expect![[r#"
            a sandbox path cannot be `/nix`
        "#]],
    );
    refused(
        |request| request.binds.push(Bind::parse("/bin/sh=/bin/dash")),
        &expect![[r#"
            both `/usr/bin/busybox` and `/bin/dash` were to be seen as `/bin/sh`
        "#]],
    );
    refused(
        |request| request.build_dir_inside = "/nix".into(),
        &expect![[r#"
            the build directory `/nix` and the store directory `/nix/store` overlap
        "#]],
    );
    refused(
        |request| request.store.inputs = ["../etc".to_owned()].into(),
        &expect![[r#"
            `../etc` is no name below a store directory
        "#]],
    );
    refused(
        |request| request.identity = Identity::Slot(Ids { uid: 0, gid: 1 }),
        &expect![[r#"
            a build cannot be given root's ids
        "#]],
    );
    refused(
        |request| request.inside.uid = 0,
        &expect![[r#"
        a build cannot be given root's ids
    "#]],
    );
}

#[test]
fn a_plan_survives_being_sent_whatever_its_strings_hold() {
    let mut request = request();
    let odd = OsString::from_vec(vec![b'a', 0xff, b'"']);
    request.args.push(odd.clone());
    request.env.push((odd.clone(), odd.clone()));
    request.scratch = request.scratch.join(&odd);
    let plan = plan(&request).expect("a plan");
    let sent = serde_json::to_string(&plan).expect("JSON");
    assert_eq!(serde_json::from_str::<Plan>(&sent).expect("a plan"), plan);
}
