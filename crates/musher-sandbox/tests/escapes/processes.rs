//! Other processes, and those that a build leaves behind.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use expect_test::expect;
use musher_sandbox::{Cut, Isolation, Limits, Status};
use rustix::fs::FlockOperation;

use crate::stage::{self, Who};
use crate::{check_both, check_on};

/// Takes the lock that a process of the build held. The kernel lets go of the files
/// of a process that is gone a moment later.
#[track_caller]
fn assert_gone(lock: &Path) {
    let file = File::open(lock).expect("the daemon's file");
    let until = Instant::now() + Duration::from_secs(10);
    while rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        assert!(
            Instant::now() < until,
            "a process of the build is still there"
        );
        std::thread::yield_now();
    }
}

#[test]
fn other_processes_are_out_of_sight_and_reach() {
    check_both(
        &["list /proc", "kill 2", "ptrace 2", "kill 1000", "kill 1"],
        &expect![[r#"
            list /proc: 1
            kill 2: ESRCH
            ptrace 2: ESRCH
            kill 1000: ESRCH
            kill 1: done
        "#]],
    );
}

#[test]
fn keys_of_the_session_are_out_of_reach() {
    check_both(
        &[
            "find-key of-the-session",
            "key of-the-build",
            "find-key of-the-build",
        ],
        &expect![[r#"
            find-key of-the-session: ENOKEY
            key of-the-build: true
            find-key of-the-build: done
        "#]],
    );
}

#[test]
fn a_daemon_ends_with_the_build() {
    for stage in stage::both() {
        let outcome = stage.run(&["daemon /build/lock", "list /proc"]);
        let ended = outcome.ended.expect("a sandbox");
        assert_eq!(
            (ended.status, ended.cut),
            (Status::Exited(0), None),
            "{}",
            outcome.said
        );
        assert_gone(&stage.request.build_dir.join("lock"));
    }
}

#[test]
fn a_daemon_ends_with_the_build_even_without_a_sandbox() {
    for mut stage in stage::both() {
        stage.request.isolation = Isolation::None;
        stage.request.program = stage.trial();
        let lock = stage.request.build_dir.join("lock");
        let outcome = stage.run(&[&format!("daemon {}", lock.display())]);
        let ended = outcome.ended.expect("a build");
        assert_eq!(ended.status, Status::Exited(0), "{}", outcome.said);
        assert!(!ended.sandboxed);
        assert_gone(&lock);
    }
}

#[test]
fn without_a_sandbox_a_build_of_roots_is_its_slot_all_the_same() {
    for mut stage in stage::both().filter(|stage| stage.who == Who::Root) {
        stage.request.isolation = Isolation::None;
        stage.request.program = stage.trial();
        let own = stage.dir.path().join("own");
        fs::create_dir(&own).expect("a directory");
        fs::set_permissions(&own, fs::Permissions::from_mode(0o700)).expect("ours");
        let outcome = stage.run(&["ids", &format!("list {}", own.display()), "setuid 0"]);
        let said = outcome.said;
        assert!(said.contains("uid 64999 gid 64999"), "{said}");
        assert!(said.contains("own: EACCES"), "{said}");
        assert!(said.contains("setuid 0: EPERM"), "{said}");
    }
}

#[test]
fn without_a_sandbox_a_build_dies_with_who_watches_over_it() {
    for mut stage in stage::both() {
        stage.request.isolation = Isolation::None;
        stage.request.program = stage.trial();
        let lock = stage.request.build_dir.join("lock");
        let hold = format!("hold {}", lock.display());
        let mut started = stage.start(&[&hold, "pause"]);
        started.hear(&format!("{hold}: done"));
        let watcher = only_child(started.asker().id());
        rustix::process::kill_process(watcher, rustix::process::Signal::KILL).expect("a process");
        assert_gone(&lock);
    }
}

#[test]
fn stopping_a_build_ends_all_of_it_and_tells_what_it_used() {
    for stage in stage::both() {
        let mut started = stage.start(&["forget-parent", "daemon /build/lock", "pause"]);
        started.hear("daemon /build/lock: done");
        started.stop();
        let ended = started.wait().ended.expect("a sandbox");
        assert_eq!(
            (ended.status, ended.cut),
            (Status::Killed(9), Some(Cut::Stopped))
        );
        assert!(!ended.usage.oom_killed);
        assert_gone(&stage.request.build_dir.join("lock"));
    }
}

#[test]
fn a_build_dies_with_the_process_that_asked_for_it() {
    for stage in stage::both() {
        let mut started = stage.start(&["forget-parent", "daemon /build/lock", "pause"]);
        started.hear("daemon /build/lock: done");
        started.asker().kill().expect("a child");
        assert_gone(&stage.request.build_dir.join("lock"));
    }
}

#[test]
fn a_build_dies_with_each_process_that_stands_around_it() {
    for stage in stage::both() {
        let mut started = stage.start(&["forget-parent", "daemon /build/lock", "pause"]);
        started.hear("daemon /build/lock: done");
        let first = only_child(started.asker().id());
        rustix::process::kill_process(first, rustix::process::Signal::KILL).expect("a process");
        assert_gone(&stage.request.build_dir.join("lock"));
        let told = started.wait().ended.expect_err("nobody to tell");
        assert!(told.contains("ended with signal: 9"), "{told}");
    }
    for stage in stage::both() {
        let mut started = stage.start(&["forget-parent", "daemon /build/lock", "pause"]);
        started.hear("daemon /build/lock: done");
        let watcher = only_child(
            only_child(started.asker().id())
                .as_raw_nonzero()
                .get()
                .unsigned_abs(),
        );
        rustix::process::kill_process(watcher, rustix::process::Signal::KILL).expect("a process");
        let told = started.wait().ended.expect_err("nobody to tell");
        assert!(
            told.contains("the process that watches the build ended"),
            "{told}"
        );
        assert_gone(&stage.request.build_dir.join("lock"));
    }
}

fn only_child(pid: u32) -> rustix::process::Pid {
    // Any of its threads may have started the child.
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("a process");
    let lists = tasks.map(|task| {
        fs::read_to_string(task.expect("a task").path().join("children")).expect("a list")
    });
    let text: String = lists.collect();
    rustix::process::Pid::from_raw(text.trim().parse().expect("one child")).expect("not 0")
}

#[test]
fn the_number_of_processes_is_bounded() {
    for mut stage in stage::both() {
        stage.request.limits = Limits {
            processes: Some(64),
            ..Limits::default()
        };
        check_on(
            &stage,
            &["forks"],
            &expect![[r#"
            forks: some, then EAGAIN
        "#]],
        );
    }
}

#[test]
fn the_number_of_processes_is_bounded_in_user_namespaces_too() {
    for mut stage in stage::both() {
        stage.request.limits = Limits {
            processes: Some(64),
            ..Limits::default()
        };
        check_on(
            &stage,
            &["unshare-user", "forks"],
            &expect![[r#"
            unshare-user: done
            forks: some, then EAGAIN
        "#]],
        );
    }
}

#[test]
fn how_the_program_ended_is_told() {
    for stage in stage::both() {
        let outcome = stage.run(&["spin 30", "memory 64", "exit 7"]);
        let ended = outcome.ended.expect("a sandbox");
        assert_eq!(ended.status, Status::Exited(7));
        assert!(ended.sandboxed);
        let usage = ended.usage;
        assert!(
            usage.cpu_user + usage.cpu_system >= Duration::from_millis(25),
            "{usage:?}"
        );
        assert!(usage.wall >= Duration::from_millis(30), "{usage:?}");
        assert!(usage.peak_memory.expect("a number") > 60 << 20, "{usage:?}");
    }
}
