//! What this machine can do, tried out; and control groups, where there are some.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use musher_sandbox::{Accounting, Cgroups, Limits, Status};

use crate::stage::{self, Who};

#[test]
fn a_probe_finds_that_builds_can_be_isolated() {
    for stage in stage::both() {
        let mut command = Command::new(stage.trial());
        command.arg("probe").arg(stage.dir.path());
        if let Some(uid) = stage.asks_as() {
            command.uid(uid).gid(uid);
        }
        let output = command.output().expect("the trial program");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.starts_with("sandbox: true\n"), "{said}");
    }
}

#[test]
fn a_probe_in_a_chroot_says_so() {
    if !stage::can(Who::Root) {
        return;
    }
    // A directory with this program, and what a sandbox takes from a machine.
    let dir = tempfile::tempdir().expect("a directory");
    stage::trial_in(dir.path());
    let script = format!(
        "mkdir -p {0}/proc {0}/dev {0}/tmp && mount -t proc proc {0}/proc && \
         mount --rbind /dev {0}/dev && exec chroot {0} /trial probe /tmp",
        dir.path().display()
    );
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-ec", &script])
        .output()
        .expect("unshare");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains("sandbox: false"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains("this process is in a chroot"), "{said}");
}

#[test]
fn a_control_group_counts_all_of_a_build_and_holds_its_limits() {
    let cgroups = Cgroups::discover();
    if let Some(why) = cgroups.missing() {
        eprintln!("skipped without control groups: {why}");
        return;
    }
    for mut stage in stage::both() {
        let limits = Limits {
            memory: Some(64 << 20),
            processes: Some(100),
            ..Limits::default()
        };
        let group = cgroups.create(&limits).expect("a group");
        if stage.who == Who::Root {
            stage.request.cgroup = group.join();
            let mut ended = stage
                .run(&["spin 30", "memory 256"])
                .ended
                .expect("a sandbox");
            group.account(&mut ended.usage);
            assert_eq!(ended.status, Status::Killed(9), "{:?}", ended.usage);
            assert!(ended.usage.oom_killed);
            assert_ne!(ended.usage.source, Accounting::Rusage);
            let peak = ended.usage.peak_memory.expect("a number");
            assert!((32 << 20..=64 << 20).contains(&peak), "{:?}", ended.usage);
            // How it is divided between the two is sampled.
            let processor = ended.usage.cpu_user + ended.usage.cpu_system;
            assert!(processor.as_millis() >= 25, "{:?}", ended.usage);
        }
        let dirs = group.join();
        drop(group);
        for file in dirs {
            assert!(!file.exists(), "{} is left", file.display());
        }
    }
}
