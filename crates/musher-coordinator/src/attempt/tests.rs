//! The limits of an attempt, on a clock that goes on only when nothing else
//! does.

use std::time::Duration;

use musher_protocol::types::BuildStatus;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{End, run};
use crate::attempt_log::{AttemptLog, attempt_log};
use crate::build::Limits;
use crate::builder::{Fault, Outcome};
use crate::supply::STALL;
use crate::testing::{FakeMachine, Try, order, soon, spec};

struct Running {
    attempt: Try,
    log: AttemptLog,
    end: JoinHandle<End>,
    _dir: tempfile::TempDir,
}

/// An attempt whose build program has started.
async fn started(limits: Limits) -> Running {
    let running = sending(limits).await;
    running.attempt.starts();
    running
}

/// An attempt whose inputs are being sent.
async fn sending(limits: Limits) -> Running {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (writer, log) = attempt_log(dir.path().join("log"));
    let (tries, mut asked) = mpsc::unbounded_channel();
    let mut spec = spec("app", &[]);
    spec.limits = limits;
    let end = tokio::spawn(async move {
        let machine = FakeMachine::new("b1", tries);
        run(&machine, &order(spec, Vec::new()), writer).await
    });
    let attempt = soon(asked.recv()).await.expect("an attempt");
    Running {
        attempt,
        log,
        end,
        _dir: dir,
    }
}

impl Running {
    async fn result(self) -> (BuildStatus, String) {
        let result = outcome(soon(self.end).await.expect("no panic")).result;
        (result.status, result.error.to_string())
    }

    /// Lets time pass until the next line.
    async fn says_after(&self, seconds: u64, line: &str) {
        // First it must have seen all that was before.
        tokio::task::yield_now().await;
        tokio::time::advance(Duration::from_secs(seconds)).await;
        self.attempt.says(line);
        let mut log = self.log.clone();
        let length = log.length();
        soon(log.read(length)).await.expect("readable");
    }
}

fn outcome(end: End) -> Outcome {
    match end {
        End::Outcome { outcome, .. } => *outcome,
        End::Outdated { .. } | End::Returned | End::Bereft { .. } | End::Fault { .. } => {
            panic!("it came to nothing")
        }
    }
}

fn limits() -> Limits {
    Limits::default()
}

const TEN: Option<Duration> = Some(Duration::from_secs(10));

#[tokio::test(start_paused = true)]
async fn silence_is_counted_from_the_last_line() {
    let started_at = Instant::now();
    let running = started(Limits {
        max_silent: TEN,
        ..limits()
    })
    .await;
    running.says_after(8, "one").await;
    running.says_after(8, "two").await;
    let (status, text) = running.result().await;
    assert_eq!(status, BuildStatus::TimedOut);
    assert_eq!(text, "timed out after 10 seconds of silence");
    assert_eq!(started_at.elapsed().as_secs(), 26);
}

#[tokio::test(start_paused = true)]
async fn talking_does_not_help_against_the_timeout() {
    let running = started(Limits {
        timeout: TEN,
        ..limits()
    })
    .await;
    running.says_after(9, "still there").await;
    let (status, text) = running.result().await;
    assert_eq!(status, BuildStatus::TimedOut);
    assert_eq!(text, "timed out after 10 seconds");
}

#[tokio::test(start_paused = true)]
async fn time_in_which_inputs_are_sent_does_not_count() {
    let running = sending(Limits {
        max_silent: TEN,
        timeout: TEN,
        max_log: None,
    })
    .await;
    tokio::time::advance(Duration::from_secs(1000)).await;
    running.attempt.starts();
    let Running {
        attempt, end, _dir, ..
    } = running;
    attempt.succeeds().await;
    let end = soon(end).await.expect("no panic");
    let end = outcome(end);
    assert_eq!(end.result.status, BuildStatus::Built);
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_does_not_take_its_inputs_is_at_fault() {
    let started_at = Instant::now();
    let running = sending(limits()).await;
    let Running {
        attempt, end, _dir, ..
    } = running;
    attempt.tastes("src");
    match soon(end).await.expect("no panic") {
        End::Fault { reason, .. } => {
            assert_eq!(
                reason,
                "it took nothing of the inputs sent to it for 10 min"
            );
        }
        End::Outcome { .. } | End::Outdated { .. } | End::Returned | End::Bereft { .. } => {
            panic!("it is a fault")
        }
    }
    assert_eq!(started_at.elapsed(), STALL);
    soon(attempt.is_dropped()).await;
}

#[tokio::test(start_paused = true)]
async fn limits_beyond_the_clock_are_none() {
    let forever = Some(Duration::from_secs(u64::MAX));
    let running = started(Limits {
        max_silent: forever,
        timeout: forever,
        max_log: Some(u64::MAX),
    })
    .await;
    running.says_after(1000, "still there").await;
    running.attempt.succeeds().await;
    soon(running.end).await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn a_log_that_is_too_long_ends_the_build_and_is_not_kept() {
    let running = started(Limits {
        max_log: Some(10),
        ..limits()
    })
    .await;
    let log = running.log.clone();
    running.attempt.says("12345678");
    for _ in 0..1000 {
        running.attempt.says("12345678");
    }
    let (status, text) = running.result().await;
    assert_eq!(status, BuildStatus::LogLimitExceeded);
    assert_eq!(text, "build log exceeded 10 bytes");
    assert_eq!(log.length(), 18);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_is_too_long_counts_even_if_the_build_has_ended() {
    let running = started(Limits {
        max_log: Some(10),
        ..limits()
    })
    .await;
    let Running {
        attempt, end, _dir, ..
    } = running;
    attempt.says("a line of more than ten bytes");
    // Comes in one piece with the line.
    attempt.succeeds().await;
    let end = soon(end).await.expect("no panic");
    let end = outcome(end);
    assert_eq!(end.result.status, BuildStatus::LogLimitExceeded);
    assert!(end.held.is_none() && end.outputs.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_fault_names_each_of_its_causes_once() {
    let running = started(limits()).await;
    let socket = musher_store::transport::TransportError::Start {
        program: "ssh".to_owned(),
        source: std::io::Error::other("out of luck"),
    };
    let fault = Fault::Store(musher_store::StoreError::Open(socket));
    let Running {
        attempt, end, _dir, ..
    } = running;
    attempt.faults(fault).await;
    match soon(end).await.expect("no panic") {
        End::Fault { reason, .. } => {
            assert_eq!(
                reason,
                "cannot open the store: cannot start `ssh`: out of luck"
            );
        }
        End::Outcome { .. } | End::Outdated { .. } | End::Returned | End::Bereft { .. } => {
            panic!("it is a fault")
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_is_gone_with_its_last_reader() {
    let running = started(limits()).await;
    running.says_after(1, "one").await;
    let Running {
        attempt,
        log,
        end,
        _dir: dir,
    } = running;
    attempt.succeeds().await;
    drop(soon(end).await);
    let files = || std::fs::read_dir(dir.path()).expect("a directory").count();
    assert_eq!(files(), 1);
    drop(log);
    assert_eq!(files(), 0);
}
