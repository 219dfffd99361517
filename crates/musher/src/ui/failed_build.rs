//! A failed build as it is told: what, why, where, and the end of its log.

use super::builds::FailedBuild;
use super::{Tone, labelled, quantity};

/// Lines of the log that are told.
const TOLD: usize = 10;

/// The story of a failed build. `log_told` says that its log was printed
/// already.
pub(super) fn story(failed: &FailedBuild<'_>, log_told: bool, colour: bool) -> String {
    let label = |label, tone, text: &str| labelled(label, tone, text, colour);
    let name = failed.drv_path.rsplit('/').next().unwrap_or_default();
    let mut story = label("error:", Tone::Error, &format!("cannot build `{name}`"));
    let mut cause = match reason(failed.error) {
        "" => "the build failed".to_owned(),
        reason => reason.to_owned(),
    };
    if !failed.machine.is_empty() {
        let time = quantity::duration(failed.took);
        cause += &format!("\non `{}`, after {time}", failed.machine);
    }
    story += &label("cause:", Tone::Error, &cause);
    let lines = &failed.log[failed.log.len().saturating_sub(TOLD)..];
    if !lines.is_empty() && !log_told {
        story += &label("log:", Tone::Note, &lines.join("\n"));
    }
    if !failed.kept_dir.is_empty() {
        let FailedBuild {
            machine, kept_dir, ..
        } = failed;
        let note = format!("its build directory is kept on `{machine}`: `{kept_dir}`");
        story += &label("note:", Tone::Note, &note);
    }
    if !failed.help.is_empty() {
        story += &label("help:", Tone::Advice, failed.help);
    }
    let untold = failed.earlier + (failed.log.len() - lines.len()) as u64;
    if untold > 0 && !log_told {
        let help = format!("`musher log {}` shows all of its log", failed.drv_path);
        story += &label("help:", Tone::Advice, &help);
    }
    story
}

/// The reason in the words of Nix 2.29 and later, which repeat the derivation
/// before it and its outputs after; all words of others.
fn reason(error: &str) -> &str {
    let lines = error.lines().map(str::trim);
    let mut reasons = lines.filter_map(|line| line.strip_prefix("Reason: "));
    match reasons.next() {
        Some(reason) => reason.trim_end_matches('.'),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use expect_test::expect;

    use super::*;

    fn failed<'a>(log: Vec<&'a str>, earlier: u64, machine: &'a str) -> FailedBuild<'a> {
        FailedBuild {
            drv_path: "/store/aaaa-app.drv",
            error: "builder failed with exit code 2",
            help: "",
            kept_dir: "",
            machine,
            took: Duration::from_millis(1234),
            log,
            earlier,
        }
    }

    #[test]
    fn the_end_of_the_log_comes_along() {
        let log = vec!["one", "two"];
        expect![[r#"
            error: cannot build `aaaa-app.drv`
            cause: builder failed with exit code 2
                   on `b1`, after 1.23 s
            log:   one
                   two
            help:  `musher log /store/aaaa-app.drv` shows all of its log
        "#]]
        .assert_eq(&story(&failed(log, 7, "b1"), false, false));
    }

    #[test]
    fn where_the_build_directory_is_kept_is_told() {
        let failed = FailedBuild {
            kept_dir: "/var/kept/app.drv-0",
            ..failed(Vec::new(), 0, "b1")
        };
        expect![[r#"
            error: cannot build `aaaa-app.drv`
            cause: builder failed with exit code 2
                   on `b1`, after 1.23 s
            note:  its build directory is kept on `b1`: `/var/kept/app.drv-0`
        "#]]
        .assert_eq(&story(&failed, false, false));
    }

    #[test]
    fn advice_is_told_as_such() {
        let failed = FailedBuild {
            help: "configure a machine for `x`",
            ..failed(Vec::new(), 0, "")
        };
        expect![[r#"
            error: cannot build `aaaa-app.drv`
            cause: builder failed with exit code 2
            help:  configure a machine for `x`
        "#]]
        .assert_eq(&story(&failed, false, false));
    }

    #[test]
    fn only_the_reason_is_told_of_what_nix_says() {
        let error = "Cannot build '/store/a.drv'.\nReason: builder failed with exit code 3.\n\
                     Output paths:\n  /store/a";
        assert_eq!(reason(error), "builder failed with exit code 3");
        assert_eq!(reason("no\nidea"), "no\nidea");
    }

    #[test]
    fn what_was_told_is_not_told_again() {
        expect![[r#"
            error: cannot build `aaaa-app.drv`
            cause: builder failed with exit code 2
        "#]]
        .assert_eq(&story(&failed(vec!["one"], 7, ""), true, false));
    }
}
