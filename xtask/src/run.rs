//! Runs other programs. Knows how to say which one failed and what it said;
//! decides nothing.

use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

/// Runs `command` with the terminal's own streams; fails unless it succeeds.
pub(crate) fn visible(command: &mut Command) -> Result<()> {
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    if !status.success() {
        bail!("`{}` ended with {status}", shown(command));
    }
    Ok(())
}

/// Runs `command` and returns its stdout; a failure carries both streams.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let outcome = outcome(command)?;
    if !outcome.status.success() {
        bail!(
            "`{}` ended with {}\n{}",
            shown(command),
            outcome.status,
            both_streams(&outcome)
        );
    }
    String::from_utf8(outcome.stdout)
        .with_context(|| format!("`{}` printed something that is not UTF-8", shown(command)))
}

/// Runs `command`, whatever its exit status, and returns what it printed.
pub(crate) fn outcome(command: &mut Command) -> Result<Output> {
    command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{}`", shown(command)))
}

/// Stdout and stderr of a finished program, for people.
pub(crate) fn both_streams(outcome: &Output) -> String {
    let mut text = String::from_utf8_lossy(&outcome.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&outcome.stderr));
    text
}

/// The command line as one would type it, roughly.
fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy()];
    words.extend(command.get_args().map(|word| word.to_string_lossy()));
    words.join(" ")
}
