//! Builds that try to get out, or at what is not theirs: as an unprivileged user
//! and as root. What each attempt came to is what the kernel said.

#![expect(
    clippy::print_stderr,
    reason = "a failing or skipped test says which one it is"
)]

mod errors;
mod files;
mod limits;
mod machine;
mod network;
mod processes;
mod stage;
mod view;

use expect_test::Expect;

use stage::Stage;

/// Performs deeds in a sandbox, which must end well: what was said.
#[track_caller]
fn said(stage: &Stage, deeds: &[&str]) -> String {
    let outcome = stage.run(deeds);
    let ended = outcome.ended.expect("a sandbox");
    assert!(
        ended.status.is_success(),
        "{}\n{}",
        ended.status,
        outcome.said
    );
    outcome.said
}

/// Compares it to the word.
#[track_caller]
fn check_on(stage: &Stage, deeds: &[&str], expected: &Expect) {
    expected.assert_eq(&said(stage, deeds));
}

/// Compares it without the reasons of refusals, of which a file that is another's
/// on a read-only mount has two.
#[track_caller]
fn check_refusals_on(stage: &Stage, deeds: &[&str], expected: &Expect) {
    let mut said = said(stage, deeds);
    for reason in ["EROFS", "EACCES", "EPERM", "EBUSY"] {
        said = said.replace(&format!(": {reason}\n"), ": refused\n");
    }
    expected.assert_eq(&said);
}

/// The same for both kinds of users.
#[track_caller]
fn check_both(deeds: &[&str], expected: &Expect) {
    for stage in stage::both() {
        eprintln!("{:?}", stage.who);
        check_on(&stage, deeds, expected);
    }
}

#[track_caller]
fn check_refusals(deeds: &[&str], expected: &Expect) {
    for stage in stage::both() {
        eprintln!("{:?}", stage.who);
        check_refusals_on(&stage, deeds, expected);
    }
}
