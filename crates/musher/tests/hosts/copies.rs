//! Paths that are asked about and copied.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use crate::host::Host;

const EXPRESSION: &str = r#"
    derivation {
        name = "x"; system = "x86_64-linux"; builder = "/bin/sh"; src = ./source;
    }
"#;

/// A derivation in the store `local`, and the file it refers to.
fn derivation(host: &Host) -> (String, String) {
    let source = host.add("source", b"hello\n");
    let file = host.file("default.nix");
    std::fs::write(&file, EXPRESSION).expect("written");
    let drv = host.nix("nix-instantiate", &[file.to_str().expect("a path of text")]);
    (drv, source)
}

#[test]
fn a_closure_goes_there_and_comes_back() {
    let Some(host) = Host::start() else { return };
    let (drv, source) = derivation(&host);
    let local = host.local();

    let there = host.run(&[
        "store",
        "copy",
        "--from",
        &local,
        "--to",
        &host.worker(),
        &drv,
    ]);
    assert_eq!(there.code, Some(0), "{}", there.stderr);
    assert_eq!(there.stdout, "");
    let mut lines = there.stderr.lines();
    assert_eq!(lines.next(), Some("copying 1 of 2: source"));
    assert_eq!(lines.next(), Some("copying 2 of 2: x.drv"));
    assert!(
        there.stderr.contains("copied 2 of 2 paths"),
        "{}",
        there.stderr
    );

    // By the other protocol it is there, and nothing is sent.
    let again = [
        "store",
        "copy",
        "--from",
        &local,
        "--to",
        &host.serve(),
        &drv,
        "--json",
    ];
    let again = host.run(&again);
    assert!(
        again.stdout.contains("\"already-valid\": 2"),
        "{}",
        again.stdout
    );

    let other = host.file("other-store").display().to_string();
    let back = [
        "store",
        "copy",
        "--from",
        &host.serve(),
        "--to",
        &other,
        &drv,
        "--json",
    ];
    let back = host.run(&back);
    assert_eq!(back.code, Some(0), "{}", back.stderr);
    let copied = [&source, &drv].map(|path| format!("    \"{path}\""));
    assert!(back.stdout.contains(&copied.join(",\n")), "{}", back.stdout);
    let info = |store: &str| host.run(&["store", "path-info", &drv, "--store", store]);
    assert_eq!(info(&other).stdout, info(&local).stdout);
}

#[test]
fn path_info_names_what_is_not_valid() {
    let Some(host) = Host::start() else { return };
    let (drv, source) = derivation(&host);
    let local = host.local();
    let info = host.run(&["store", "path-info", "--store", &local, &drv]);
    assert_eq!(info.code, Some(0), "{}", info.stderr);
    for part in [
        "hash        sha256:",
        "size        ",
        "ca          text:sha256:",
    ] {
        assert!(info.stdout.contains(part), "{}", info.stdout);
    }
    assert!(info.stdout.contains(&format!("references  {source}")));

    let remote = host.worker();
    let absent = host.run(&["store", "path-info", "--store", &remote, &drv]);
    assert_eq!(absent.code, Some(1));
    assert_eq!(absent.stdout, "");
    let note = format!("note:  `{drv}` is not valid in `ssh-ng://root@127.0.0.1:");
    assert!(absent.stderr.starts_with(&note), "{}", absent.stderr);
    let absent = host.run(&["store", "path-info", "--store", &remote, &drv, "--json"]);
    assert!(
        absent.stdout.contains("\"valid\": false"),
        "{}",
        absent.stdout
    );

    let copy = host.run(&["store", "copy", "--from", &remote, "--to", &local, &drv]);
    assert_eq!(copy.code, Some(2));
    assert!(
        copy.stderr
            .contains("is not valid in the store it is copied from")
    );
}

#[test]
fn an_interrupted_copy_leaves_nothing_running() {
    let Some(host) = Host::start() else { return };
    // It takes longer than the signal: ssh is slow at this.
    let big = host.add("big", &vec![7; 128 << 20]);
    let to = host.worker();
    let local = host.local();
    let mut musher = host
        .command(&["store", "copy", "--from", &local, "--to", &to, &big])
        .stderr(Stdio::piped())
        .spawn()
        .expect("musher starts");
    let stderr = musher.stderr.take().expect("its messages");
    let mut line = String::new();
    BufReader::new(stderr).read_line(&mut line).expect("a line");
    assert_eq!(line, "copying 1 of 1: big\n");
    let pid = Pid::from_child(&musher);
    kill_process(pid, Signal::INT).expect("our child");
    let status = musher.wait().expect("its end");
    assert_eq!(status.code(), Some(130));
    host.assert_tidy();
    let control = host.path().join("tmp");
    assert_eq!(processes(control.to_str().expect("a path of text")), 0);
}

/// How many processes have `text` in an argument.
fn processes(text: &str) -> usize {
    let entries = std::fs::read_dir("/proc").expect("/proc");
    let lines = entries.filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok());
    lines
        .filter(|line| String::from_utf8_lossy(line).contains(text))
        .count()
}
