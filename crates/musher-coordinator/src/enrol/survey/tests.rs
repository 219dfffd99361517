//! What this very host says, and what is read from made-up answers.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::*;
use crate::enrol::script::Answer;

/// The script's answer on this host, run with a home of its own.
fn here(home: &str, dir: Option<&str>, shell: &str) -> String {
    let mut child = Command::new(shell)
        .arg("-s")
        .env("HOME", home)
        .env_remove("XDG_CACHE_HOME")
        .env("XDG_STATE_HOME", "relative")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a shell starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let script = Survey::script(dir).render();
    stdin.write_all(&script).expect("written");
    drop(stdin);
    let output = child.wait_with_output().expect("the shell ends");
    Answer::parse(&output.stdout).expect("a mark").text()
}

#[test]
fn this_host_can_be_surveyed() {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().to_str().expect("text");
    for shell in ["sh", "bash"] {
        let survey = Survey::parse(&here(path, None, shell)).expect("a survey");
        assert_eq!(survey.kernel, "Linux");
        assert_eq!(survey.architecture, std::env::consts::ARCH);
        assert!(survey.cores > 0 && survey.memory > Some(1 << 20));
        assert_eq!(survey.files.path, format!("{path}/.cache/musher"));
        assert!(survey.files.writable && survey.files.executable);
        assert!(survey.files.free > Some(0) && survey.state.free > Some(0));
        assert_eq!(
            survey.modes.first().map(|mode| mode.path.as_str()),
            Some(path)
        );
    }
    let left = std::fs::read_dir(home.path()).expect("listed").count();
    assert_eq!(left, 0, "the survey leaves nothing behind");
}

#[test]
fn a_directory_of_ones_choice_holds_one_of_ours() {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().to_str().expect("text");
    let survey = Survey::parse(&here(path, Some("/scratch/you"), "sh")).expect("a survey");
    assert_eq!(survey.files.path, "/scratch/you/musher");
    assert_eq!(survey.state.path, "/scratch/you/musher/state");
}

const LEAST: &str = "kernel Linux\nrelease 6.1\narchitecture x86_64\nhost b\nuser u\nuid 1000\n\
                     home /home/u\nfiles /home/u/.cache/musher\nstate /s\n";

#[test]
fn what_is_not_said_is_not_assumed() {
    let survey = Survey::parse(LEAST).expect("a survey");
    assert_eq!(
        (survey.cores, survey.memory, survey.kvm),
        (1, None, Kvm::Absent)
    );
    assert!(!survey.files.writable && !survey.runs_i686);
    assert_eq!(
        Survey::parse("kernel Linux"),
        Err(SurveyError { what: "release" })
    );

    let over = Survey::parse(&format!("{LEAST}quota-kib -5\nkvm forbidden")).expect("a survey");
    assert_eq!((over.quota, over.kvm), (Some(0), Kvm::Forbidden));
}

#[test]
fn files_that_others_may_write_are_noticed() {
    let mode = |text| FileMode::parse(text).expect("a mode");
    assert!(!mode("drwxr-xr-x 1000 /home/u").is_open_to_others(1000));
    assert!(!mode("drwxr-xr-x 0 /home/u").is_open_to_others(1000));
    assert!(mode("drwxrwxr-x 1000 /home/u").is_open_to_others(1000));
    assert!(mode("drwxr-xr-x 1001 /home/a b").is_open_to_others(1000));
    assert_eq!(mode("-rw------- 0 /home/a b").path, "/home/a b");
}
