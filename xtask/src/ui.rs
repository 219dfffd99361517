//! The one place that prints. Data goes to stdout, everything else to stderr;
//! knows nothing of what it is told.

use std::time::{Duration, Instant};

use anyhow::{Error, Result};

/// Prints a line for whoever watches, on stderr.
#[expect(clippy::print_stderr, reason = "the one place that prints")]
pub(crate) fn say(line: impl AsRef<str>) {
    eprintln!("{}", line.as_ref());
}

/// Prints a line of the task's result, on stdout.
#[expect(clippy::print_stdout, reason = "the one place that prints")]
pub(crate) fn data(line: impl AsRef<str>) {
    println!("{}", line.as_ref());
}

/// Prints an error and its chain of causes.
pub(crate) fn error(error: &Error) {
    say(format!("error: {error}"));
    for cause in error.chain().skip(1) {
        say(format!("cause: {cause}"));
    }
}

/// Announces a step, performs it and says how long it took.
pub(crate) fn step<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    say(format!("==> {name}"));
    let started = Instant::now();
    let outcome = work();
    let verdict = if outcome.is_ok() { "ok" } else { "FAILED" };
    say(format!(
        "<== {name}: {verdict} in {}",
        seconds(started.elapsed())
    ));
    outcome
}

/// A duration as people read it: `0.42 s`, `71.3 s`.
pub(crate) fn seconds(duration: Duration) -> String {
    let value = duration.as_secs_f64();
    if value < 10.0 {
        format!("{value:.2} s")
    } else {
        format!("{value:.1} s")
    }
}
