//! Disks and memory, which a build could use up.

use std::fs;

use expect_test::expect;
use musher_sandbox::{Cut, Limits, Status};

use crate::{check_on, said, stage};

#[test]
fn one_file_is_bounded() {
    for mut stage in stage::both() {
        stage.request.limits = Limits {
            file_size: Some(4 << 20),
            ..Limits::default()
        };
        check_on(
            &stage,
            &["fill /build/f"],
            &expect![[r#"
            fill /build/f: EFBIG after 4 MiB
        "#]],
        );
    }
}

#[test]
fn open_files_are_as_many_as_is_usual() {
    for mut stage in stage::both() {
        stage.request.limits = Limits {
            open_files: Some(200),
            ..Limits::default()
        };
        let said = said(&stage, &["show /proc/self/limits"]);
        let limit = said.lines().find(|line| line.starts_with("Max open files"));
        let words: Vec<&str> = limit.expect("a line").split_whitespace().collect();
        assert_eq!(words[3], "200");
        assert_ne!(words[4], "200");
    }
}

#[test]
fn a_build_that_fills_the_disk_is_ended_before_it_is_full() {
    for mut stage in stage::both() {
        let stat = rustix::fs::statvfs(&stage.request.scratch).expect("a file system");
        let free = stat.f_bavail * stat.f_frsize;
        stage.request.limits = Limits {
            disk_reserve: Some(free.saturating_sub(64 << 20)),
            ..Limits::default()
        };
        let ended = stage.run(&["fill /build/f"]).ended.expect("a sandbox");
        assert_eq!(
            (ended.status, ended.cut),
            (Status::Killed(9), Some(Cut::DiskReserve))
        );
        let length = fs::metadata(stage.request.build_dir.join("f"))
            .expect("a file")
            .len();
        assert!(length >= 32 << 20, "ended after {length} bytes");
    }
}
