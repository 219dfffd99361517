//! The shim as sshd would start it, by each shell of this host.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use super::*;

/// A program that tells its arguments.
const PROGRAM: &[u8] = b"#!/bin/sh\necho \"$@\"\n";

struct Machine {
    dir: TempDir,
    shim: ShimScript,
}

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let path = |name: &str| dir.path().join(name).display().to_string();
        let shim = ShimScript::new(&path("files"), &path("state")).expect("a plain path");
        fs::create_dir(dir.path().join("files")).expect("made");
        fs::write(shim.path(), shim.text()).expect("written");
        Self { dir, shim }
    }

    fn ask_with(&self, command: &str, input: &[u8], path: &str) -> Output {
        let mut child = Command::new("/bin/sh")
            .args(["-c", &self.shim.forced_command()])
            .env("SSH_ORIGINAL_COMMAND", command)
            .env("PATH", path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a shell starts");
        // It may not care for input.
        let _ = child.stdin.take().expect("a pipe").write_all(input);
        child.wait_with_output().expect("it ends")
    }

    fn ask(&self, command: &str, input: &[u8]) -> (i32, String) {
        let output = self.ask_with(command, input, "/usr/bin:/bin");
        let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
        said += &String::from_utf8_lossy(&output.stderr);
        let dir = self.dir.path().to_string_lossy().into_owned();
        let code = output.status.code().expect("a status");
        (code, said.replace(&dir, "DIR"))
    }

    fn names(&self, below: &str) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path().join(below)).expect("listed");
        let mut names: Vec<String> = entries
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        names
    }
}

fn install(program: &[u8]) -> String {
    install_command(&ContentHash::of(program), program.len() as u64, None).join(" ")
}

#[test]
fn a_program_is_installed_and_started() {
    let machine = Machine::new();
    let hash = ContentHash::of(PROGRAM);
    let (code, said) = machine.ask(&worker_command(Some(&hash)).join(" "), b"");
    assert_eq!(
        (code, said),
        (NOT_INSTALLED, format!("musher: {hash} is not installed\n"))
    );

    let (code, said) = machine.ask(&install(PROGRAM), PROGRAM);
    assert_eq!((code, said), (0, format!("installed {hash}\n")));
    let started = "--state DIR/state --run DIR/state/run worker --stdio\n".to_owned();
    for command in [worker_command(Some(&hash)), worker_command(None)] {
        assert_eq!(machine.ask(&command.join(" "), b""), (0, started.clone()));
    }
    let file = machine.dir.path().join(format!("files/{hash}/musher"));
    let mode = fs::metadata(file).expect("there").permissions().mode() & 0o7777;
    assert_eq!(mode, 0o700);
    // A second time changes nothing.
    assert_eq!(machine.ask(&install(PROGRAM), PROGRAM).0, 0);
    assert_eq!(
        machine.names("files"),
        [hash.to_string(), "current".into(), "shim".into()]
    );
}

#[test]
fn only_what_was_announced_is_installed() {
    let machine = Machine::new();
    let own = format!("{} {}", install(PROGRAM), std::env::consts::ARCH);
    assert_eq!(machine.ask(&own, PROGRAM).0, 0);
    let other = format!("{} vax", install(b"other"));
    assert_eq!(machine.ask(&other, b"other").0, OTHER_ARCHITECTURE);
    let machine = Machine::new();
    let (code, said) = machine.ask(&install(PROGRAM), &PROGRAM[1..]);
    assert_eq!((code, said.as_str()), (65, "musher: 19 of 20 bytes came\n"));
    let mut other = PROGRAM.to_vec();
    other[2] = b'x';
    let (code, said) = machine.ask(&install(PROGRAM), &other);
    assert!(
        code == 65 && said.contains("what came has the hash"),
        "{said}"
    );
    assert_eq!(machine.names("files"), ["shim"]);
}

#[test]
fn nothing_else_is_possible() {
    let machine = Machine::new();
    let long = "a".repeat(64);
    for command in [
        "",
        "sh",
        "worker $(touch x)",
        "worker ../../bin/sh",
        "worker;sh",
        "worker x y z",
        "install",
        &format!("install {long} 1;x"),
        &format!("install {long}"),
        "install ../../etc/passwd 3",
        "nix-daemon --stdio",
        "worker\nsh",
    ] {
        let (code, said) = machine.ask(command, b"abc");
        assert_eq!(code, 64, "{command}: {said}");
        assert!(said.starts_with("musher: "), "{command}: {said}");
    }
    assert_eq!(machine.names("files"), ["shim"]);
}

#[test]
fn without_a_tool_for_sums_the_program_is_asked_itself() {
    let machine = Machine::new();
    let bin = machine.dir.path().join("bin");
    fs::create_dir(&bin).expect("made");
    for tool in [
        "cat", "wc", "tr", "cut", "mkdir", "mv", "rm", "chmod", "touch", "sync", "ls",
    ] {
        let found = [Path::new("/usr/bin"), Path::new("/bin")]
            .map(|dir| dir.join(tool))
            .into_iter()
            .find(|path| path.exists());
        std::os::unix::fs::symlink(found.expect("a tool"), bin.join(tool)).expect("linked");
    }
    // Told to hash what it is given, which is itself.
    let program = b"#!/bin/sh\n[ \"$1\" = content-hash ] && /usr/bin/sha256sum\n";
    let path = bin.display().to_string();
    let output = machine.ask_with(&install(program), program, &path);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let lying = b"#!/bin/sh\necho 0\n";
    let output = machine.ask_with(&install(lying), lying, &path);
    assert_eq!(output.status.code(), Some(65));
}

#[test]
fn old_programs_go_in_time() {
    let machine = Machine::new();
    let mut newest = String::new();
    for number in 0..7 {
        let program = format!("#!/bin/sh\nexit {number}\n").into_bytes();
        let (code, said) = machine.ask(&install(&program), &program);
        assert_eq!(code, 0, "{said}");
        newest = ContentHash::of(&program).to_string();
    }
    let kept = machine.names("files");
    assert_eq!(
        kept.iter().filter(|name| name.len() == 64).count(),
        4,
        "{kept:?}"
    );
    assert!(kept.contains(&newest) && kept.contains(&"shim".to_owned()));
}

#[test]
fn odd_paths_are_refused() {
    for path in [
        "relative",
        "/home/a b",
        "/home/$x",
        "/home/a'b",
        "/home/é",
        "/a\"b",
        "",
    ] {
        assert!(ShimScript::new(path, "/s").is_err(), "{path}");
        assert!(ShimScript::new("/f", path).is_err(), "{path}");
    }
    let shim = ShimScript::new("/home/you/.cache/musher", "/s").expect("a plain path");
    assert_eq!(
        shim.forced_command(),
        "exec /bin/sh /home/you/.cache/musher/shim"
    );
    assert_eq!(ShimScript::parse(&shim.text()), Some(shim.clone()));
    assert_eq!(path_of(&shim.forced_command()), Some(shim.path().as_str()));
    let open = shim.clone().without_sandbox();
    assert_eq!(ShimScript::parse(&open.text()), Some(open.clone()));
    assert_ne!(open, shim);
    assert_eq!(ShimScript::parse("#!/bin/sh\necho\n"), None);
}
