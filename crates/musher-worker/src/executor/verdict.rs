//! Which class a build's end belongs to, and the words for it. Pure. The words
//! are Nix's (2.34), since people and scripts know them; a client adds the
//! last lines of the log itself.

use std::fmt::Write as _;

use musher_protocol::types::{BasicDerivation, BuildStatus};
use musher_sandbox::Status;
use nix_derivation::{StoreDir, StorePath};

use super::Fault;
use super::kind::Kind;
use super::watch::Excess;

/// What is known when a build program has ended badly, or was ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failure {
    /// How it ended.
    pub(super) end: End,
    /// Whether a disk it wrote to is (nearly) full.
    pub(super) disk_full: bool,
    /// Whether the kernel killed a process of it for want of memory.
    pub(super) out_of_memory: bool,
}

/// How a build program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// By itself.
    Exited(Status),
    /// It went over a limit, and was stopped.
    Stopped(Excess),
}

/// The class of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Nix's class.
    pub(super) status: BuildStatus,
    /// Whose fault it is, if not the build's.
    pub(super) fault: Option<Fault>,
}

impl Failure {
    /// The class of this failure of a derivation of `kind`.
    ///
    /// A build that ran into its own limits failed by them, whatever else was
    /// wrong. A full disk comes before memory: the first is seen now, of the
    /// second only that it happened at some time. What the network did to a
    /// fixed output may be better tomorrow.
    pub(super) fn verdict(&self, kind: Kind) -> Verdict {
        let fault = match self.end {
            End::Stopped(_) => None,
            End::Exited(_) if self.disk_full => Some(Fault::DiskFull),
            End::Exited(_) if self.out_of_memory => Some(Fault::OutOfMemory),
            End::Exited(_) => None,
        };
        let status = match self.end {
            End::Stopped(Excess::Silent(_) | Excess::Long(_)) => BuildStatus::TimedOut,
            End::Stopped(Excess::Loud(_)) => BuildStatus::LogLimitExceeded,
            End::Exited(_) if fault.is_some() || kind.is_open() => BuildStatus::TransientFailure,
            End::Exited(_) => BuildStatus::PermanentFailure,
        };
        Verdict { status, fault }
    }

    /// What a client is told.
    pub(super) fn text(
        &self,
        drv_path: &StorePath,
        derivation: &BasicDerivation,
        store_dir: &StoreDir,
    ) -> String {
        let drv = store_dir.render_path(drv_path);
        let exit = match self.end {
            End::Stopped(excess) => return format!("building derivation '{drv}' {excess}"),
            End::Exited(exit) => exit,
        };
        let mut text = format!("Cannot build '{drv}'.\nReason: builder {}.", words(exit));
        let mut outputs: Vec<_> = derivation.outputs.values().collect();
        outputs.sort_by(|a, b| a.path.cmp(&b.path));
        let mut paths = outputs
            .into_iter()
            .filter_map(|output| output.path.as_ref())
            .peekable();
        if paths.peek().is_some() {
            text.push_str("\nOutput paths:");
        }
        for path in paths {
            // Nothing fails that writes to a string.
            let _ = write!(text, "\n  {}", store_dir.render_path(path));
        }
        if self.disk_full {
            text.push_str("\nnote: build failure may have been caused by lack of free disk space");
        } else if self.out_of_memory {
            text.push_str("\nnote: the kernel killed a process of the build for want of memory");
        }
        text
    }
}

fn words(exit: Status) -> String {
    match exit {
        Status::Exited(0) => "succeeded".to_owned(),
        Status::Exited(status) => format!("failed with exit code {status}"),
        Status::Killed(signal) => match description(signal) {
            Some(description) => format!("failed due to signal {signal} ({description})"),
            None => format!("failed due to signal {signal}"),
        },
    }
}

/// The C library's words for the signals that end programs, by Linux's
/// numbers.
fn description(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "Hangup",
        2 => "Interrupt",
        3 => "Quit",
        4 => "Illegal instruction",
        5 => "Trace/breakpoint trap",
        6 => "Aborted",
        7 => "Bus error",
        8 => "Floating point exception",
        9 => "Killed",
        10 => "User defined signal 1",
        11 => "Segmentation fault",
        12 => "User defined signal 2",
        13 => "Broken pipe",
        14 => "Alarm clock",
        15 => "Terminated",
        24 => "CPU time limit exceeded",
        25 => "File size limit exceeded",
        31 => "Bad system call",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::time::Duration;

    use expect_test::{Expect, expect};
    use musher_protocol::types::BasicOutput;

    use super::*;

    const FAILED: End = End::Exited(Status::Exited(1));

    #[track_caller]
    fn check(kind: Kind, end: End, disk_full: bool, out_of_memory: bool, expected: &Expect) {
        let failure = Failure {
            end,
            disk_full,
            out_of_memory,
        };
        let path = |digest: u8, name| StorePath::from_parts([digest; 20], name).expect("a path");
        let outputs = ["out", "dev"].map(|name| {
            let output = BasicOutput {
                path: (kind != Kind::Floating).then(|| path(2, name)),
                hash_algo: String::new(),
                hash: String::new(),
            };
            (name.to_owned(), output)
        });
        let derivation = BasicDerivation {
            outputs: outputs.into(),
            input_sources: BTreeSet::new(),
            system: String::new(),
            builder: String::new(),
            args: Vec::new(),
            env: BTreeMap::new(),
        };
        let Verdict { status, fault } = failure.verdict(kind);
        let text = failure.text(&path(0, "x.drv"), &derivation, &StoreDir::default());
        let text = text.replace("00000000000000000000000000000000", "…");
        expected.assert_eq(&format!("{status:?} {fault:?}\n{text}\n"));
    }

    #[test]
    fn a_build_that_fails() {
        check(
            Kind::InputAddressed,
            FAILED,
            false,
            false,
            &expect![[r#"
                PermanentFailure None
                Cannot build '/nix/store/…-x.drv'.
                Reason: builder failed with exit code 1.
                Output paths:
                  /nix/store/081040h2081040h2081040h2081040h2-dev
                  /nix/store/081040h2081040h2081040h2081040h2-out
            "#]],
        );
        check(
            Kind::Floating,
            End::Exited(Status::Killed(9)),
            false,
            false,
            &expect![[r#"
                PermanentFailure None
                Cannot build '/nix/store/…-x.drv'.
                Reason: builder failed due to signal 9 (Killed).
            "#]],
        );
    }

    #[test]
    fn a_failure_that_may_pass() {
        let floating = Kind::Floating;
        check(
            floating,
            FAILED,
            true,
            true,
            &expect![[r#"
                TransientFailure Some(DiskFull)
                Cannot build '/nix/store/…-x.drv'.
                Reason: builder failed with exit code 1.
                note: build failure may have been caused by lack of free disk space
            "#]],
        );
        check(
            floating,
            FAILED,
            false,
            true,
            &expect![[r#"
                TransientFailure Some(OutOfMemory)
                Cannot build '/nix/store/…-x.drv'.
                Reason: builder failed with exit code 1.
                note: the kernel killed a process of the build for want of memory
            "#]],
        );
        let failure = Failure {
            end: FAILED,
            disk_full: false,
            out_of_memory: false,
        };
        let verdict = failure.verdict(Kind::Fixed);
        assert_eq!(verdict.status, BuildStatus::TransientFailure);
        assert_eq!(verdict.fault, None);
    }

    #[test]
    fn a_build_that_is_stopped() {
        let silent = Excess::Silent(Duration::from_secs(5));
        check(
            Kind::Floating,
            End::Stopped(silent),
            true,
            true,
            &expect![[r#"
                TimedOut None
                building derivation '/nix/store/…-x.drv' timed out after 5 seconds of silence
            "#]],
        );
        check(
            Kind::Floating,
            End::Stopped(Excess::Loud(10)),
            false,
            false,
            &expect![[r#"
                LogLimitExceeded None
                building derivation '/nix/store/…-x.drv' killed after writing more than 10 bytes of log output
            "#]],
        );
    }
}
