//! Making a host a machine and taking it back, against a real sshd. That it then
//! builds is for `cargo xtask enrol`.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc;

use rustix::process::{Pid, Signal, kill_process};

use super::host::{BOUND, Host, PATIENT, Ran};

/// The host as a person logs in to it, with a directory for all of ours, where
/// they keep something too.
struct Person {
    host: Host,
}

impl Person {
    fn start() -> Option<Self> {
        let host = Host::start()?;
        let ssh = host.file("home/.ssh");
        fs::create_dir_all(&ssh).expect("a directory");
        fs::set_permissions(&ssh, fs::Permissions::from_mode(0o700)).expect("mode set");
        fs::copy(
            host.file("client.pub"),
            host.file("home/.ssh/authorized_keys"),
        )
        .expect("keys");
        let known = format!(
            "UserKnownHostsFile {}\n",
            host.file("known_hosts").display()
        );
        fs::write(host.file("ssh_config"), known).expect("written");
        fs::create_dir(host.file("there")).expect("a directory");
        fs::write(host.file("there/thesis"), "theirs").expect("written");
        Some(Self { host })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.host.file(name)
    }

    /// `musher machine …` with the person's own key for ssh.
    fn machine(&self, words: &str) -> Ran {
        let words: Vec<&str> = ["machine"].into_iter().chain(words.split(' ')).collect();
        self.host
            .run_with(&words, &[("NIX_SSHOPTS", &self.ssh_options())])
    }

    fn ssh_options(&self) -> String {
        let (config, key) = (self.file("ssh_config"), self.file("client"));
        format!(
            "-F {} -o IdentitiesOnly=yes -o IdentityAgent=none -i {}",
            config.display(),
            key.display()
        )
    }

    fn add_words(&self) -> String {
        let (port, dir) = (self.host.port(), self.file("there"));
        let dir = dir.display();
        format!("add root@127.0.0.1:{port} --name b1 --dir {dir} --yes")
    }

    fn add(&self, more: &str) -> Ran {
        self.machine(format!("{} {more}", self.add_words()).trim())
    }

    /// The same, going on, with the programs in `bin` of this directory before
    /// others.
    fn start_adding(&self, programs: &Path) -> Child {
        let file = self.file("musher.toml");
        let words = self.add_words();
        let mut args = vec!["--config", file.to_str().expect("text"), "machine"];
        args.extend(words.split(' '));
        let path = std::env::var("PATH").expect("a path");
        self.host
            .command(&args)
            .env("NIX_SSHOPTS", self.ssh_options())
            .env("PATH", format!("{}/bin:{path}", programs.display()))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("musher starts")
    }

    /// Interrupts it, and sees that nothing is left.
    #[track_caller]
    fn interrupt(&self, child: Child) {
        kill_process(Pid::from_child(&child), Signal::INT).expect("it runs");
        self.interrupted(child);
    }

    #[track_caller]
    fn interrupted(&self, mut child: Child) {
        let end = within(move || child.wait().expect("it ends"));
        assert_eq!(end.code(), Some(130));
        self.host.assert_tidy();
        self.assert_clean(PATIENT);
    }

    fn keys(&self) -> String {
        fs::read_to_string(self.file("home/.ssh/authorized_keys")).expect("read")
    }

    fn config(&self) -> String {
        fs::read_to_string(self.file("musher.toml")).expect("read")
    }

    /// Sees that nothing of ours is anywhere.
    #[track_caller]
    fn assert_clean(&self, config: &str) {
        let there = fs::read_dir(self.file("there")).expect("listed");
        let there: Vec<_> = there.map(|e| e.expect("an entry").file_name()).collect();
        assert_eq!(there, ["thesis"], "what is ours goes, and nothing else");
        assert!(!self.file("keys").exists(), "a key is left");
        let theirs = fs::read_to_string(self.file("client.pub")).expect("read");
        assert_eq!(self.keys(), theirs);
        assert_eq!(self.config(), config);
    }
}

#[test]
fn a_machine_is_added_once_and_removed_without_a_trace() {
    let Some(person) = Person::start() else {
        return;
    };
    let config = "# mine\nconnect-timeout = 40\n";
    fs::write(person.file("musher.toml"), config).expect("written");

    let looked = person.add("--dry-run");
    assert_eq!(looked.code, Some(0), "{}", looked.stderr);
    assert!(
        looked.stdout.contains("\n[[machine]]\nname = \"b1\"\n"),
        "{}",
        looked.stdout
    );
    person.assert_clean(config);

    let added = person.add("--max-jobs 3");
    assert_eq!(added.code, Some(0), "{}{}", added.stdout, added.stderr);
    assert!(
        added.stdout.contains("test build       ok"),
        "{}",
        added.stdout
    );
    let text = person.config();
    assert!(
        text.starts_with(config) && text.contains("max-jobs = 3"),
        "{text}"
    );
    let keys = person.keys();
    let ours = keys.lines().last().expect("a line");
    assert!(
        ours.starts_with("restrict,command=\"exec /bin/sh "),
        "{ours}"
    );
    let mode = fs::metadata(person.file("keys/b1"))
        .expect("a key")
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o600);

    let again = person.add("");
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert_eq!((person.config(), person.keys()), (text, keys));
    assert!(again.stdout.contains("as configured"), "{}", again.stdout);

    let refused = person.machine("remove b1");
    assert_eq!(refused.code, Some(2), "nobody can be asked");
    let removed = person.machine("remove b1 --yes");
    assert_eq!(removed.code, Some(0), "{}", removed.stderr);
    person.assert_clean(config);
}

#[test]
fn a_host_key_is_accepted_by_somebody_or_not_at_all() {
    let Some(person) = Person::start() else {
        return;
    };
    let words = person.add_words();
    let words = words.strip_suffix(" --yes").expect("the last word");
    // Only looking sends a password too.
    for more in ["", " --dry-run"] {
        let asked = person.machine(&format!("{words}{more}"));
        assert_eq!(asked.code, Some(2), "{}{}", asked.stdout, asked.stderr);
        assert!(
            asked.stderr.contains("has the host key ED25519 SHA256:"),
            "{}",
            asked.stderr
        );
    }

    let known = person.file("known_hosts");
    let key = fs::read_to_string(person.file("host.pub")).expect("read");
    let port = person.host.port();
    let line = format!("[127.0.0.1]:{port} {key}");
    let look = |lines: &str| {
        fs::write(&known, lines).expect("written");
        person.machine(&format!("{words} --dry-run"))
    };
    let looked = look(&line);
    assert_eq!(looked.code, Some(0), "{}", looked.stderr);
    for lines in [
        format!("@revoked * {key}"),
        format!("{line}@revoked {line}"),
    ] {
        fs::write(&known, lines).expect("written");
        let refused = person.machine(&format!("{words} --yes"));
        assert_eq!(refused.code, Some(3), "{}", refused.stdout);
        for said in ["calls revoked: ED25519 SHA256:", "take the `@revoked` line"] {
            assert!(refused.stderr.contains(said), "{}", refused.stderr);
        }
    }
    // The key of an authority vouches for no key.
    let asked = look(&format!("@cert-authority {line}"));
    assert!(
        asked.stderr.contains("there is nobody to ask"),
        "{}",
        asked.stderr
    );
    person.assert_clean(PATIENT);
}

#[test]
fn a_failure_takes_everything_back() {
    let Some(person) = Person::start() else {
        return;
    };
    let config = "connect-timeout = 40\n";
    fs::write(person.file("musher.toml"), config).expect("written");

    // A static program, which is no musher: no worker answers.
    let program = std::env::current_exe().expect("this test");
    let failed = person.add(&format!("--binary {}", program.display()));
    assert_eq!(failed.code, Some(3), "{}", failed.stderr);
    assert!(
        failed.stderr.contains("the worker there does not answer"),
        "{}",
        failed.stderr
    );
    assert!(
        failed.stderr.contains("taken back: the line"),
        "{}",
        failed.stderr
    );
    person.assert_clean(config);

    // A key that may do anything there already.
    let failed = person.add(&format!("--ssh-key {}", person.file("client").display()));
    assert_eq!(failed.code, Some(2), "{}", failed.stderr);
    assert!(
        failed.stderr.contains("without being restricted: line 1"),
        "{}",
        failed.stderr
    );
    person.assert_clean(config);

    let failed = person.add("--host-key SHA256:another");
    assert_eq!(failed.code, Some(2), "{}", failed.stderr);
    person.assert_clean(config);
}

#[test]
fn removal_is_asked_for_where_nothing_of_ours_is_known() {
    let Some(person) = Person::start() else {
        return;
    };
    let table = format!(
        "[[machine]]\nname = \"b1\"\nconnect = \"ssh://{}\"\n",
        person.host.authority()
    );
    let config = format!("{PATIENT}{table}");
    fs::write(person.file("musher.toml"), &config).expect("written");
    let asked = person.machine("remove b1");
    assert_eq!(asked.code, Some(2), "{}{}", asked.stdout, asked.stderr);
    assert!(
        asked.stderr.contains("no files of musher's are known"),
        "{}",
        asked.stderr
    );
    person.assert_clean(&config);
    let removed = person.machine("remove b1 --yes");
    assert_eq!(removed.code, Some(0), "{}", removed.stderr);
    person.assert_clean(PATIENT);
}

#[test]
fn a_machine_that_is_gone_is_removed_by_force() {
    let Some(person) = Person::start() else {
        return;
    };
    let config = "connect-timeout = 40\n";
    let port = super::host::free_port();
    let table =
        format!("\n[[machine]]\nname = \"b1\"\nconnect = \"ssh://root@127.0.0.1:{port}\"\n");
    fs::write(person.file("musher.toml"), format!("{config}{table}")).expect("written");

    let kept = person.machine("remove b1 --yes");
    assert_eq!(kept.code, Some(3), "{}", kept.stderr);
    assert!(
        kept.stderr.contains("`--force` takes it out"),
        "{}",
        kept.stderr
    );
    assert!(person.config().contains("b1"));

    let asked = person.machine("remove b1 --force");
    assert_eq!(asked.code, Some(2), "nobody can be asked");
    assert!(
        asked.stderr.contains("`b1` cannot be reached"),
        "{}",
        asked.stderr
    );
    assert!(person.config().contains("b1"));

    let removed = person.machine("remove b1 --yes --force");
    assert_eq!(removed.code, Some(0), "{}", removed.stderr);
    assert!(
        removed.stdout.contains("was left as it is"),
        "{}",
        removed.stdout
    );
    assert_eq!(person.config(), config);
}

/// A program in the way of another of its name: the first time that its words
/// contain `at` it says so and waits, and then goes on as the other, or has been
/// it already.
fn gate(dir: &Path, program: &str, at: &str, before: bool) -> Gate {
    let (first, last) = match before {
        true => ("", r#"exec "$real" "$@""#),
        false => (r#""$real" "$@""#, ""),
    };
    let real = std::env::var("PATH").expect("a path");
    let mut dirs = real.split(':').map(|dir| Path::new(dir).join(program));
    let real = dirs.find(|path| path.exists()).expect("the program");
    let gate = Gate(dir.join("gate"));
    fs::create_dir(&gate.0).expect("made");
    for pipe in ["begun", "go"] {
        let made = std::process::Command::new("mkfifo")
            .arg(gate.0.join(pipe))
            .status();
        assert!(made.expect("mkfifo runs").success());
    }
    let script = format!(
        "#!/bin/sh\nreal={real} gate={gate}\ncase $* in\n*{at}*) if mkdir $gate/once 2> /dev/null; \
         then {first}\necho > $gate/begun; read x < $gate/go; {last}\nexit; fi ;;\nesac\n\
         exec \"$real\" \"$@\"\n",
        real = real.display(),
        gate = gate.0.display(),
    );
    let bin = dir.join("bin");
    fs::create_dir_all(&bin).expect("made");
    fs::write(bin.join(program), script).expect("written");
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(bin.join(program), mode).expect("mode set");
    gate
}

struct Gate(PathBuf);

impl Gate {
    /// Waits until the program has come to it.
    fn reached(&self) {
        let pipe = self.0.join("begun");
        within(move || fs::read(pipe).expect("read"));
    }

    /// Lets the program go on.
    fn open(&self) {
        let pipe = self.0.join("go");
        within(move || fs::write(pipe, "\n").expect("written"));
    }
}

/// Does what may have to be waited for, for at most [`BOUND`].
#[track_caller]
fn within<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(work()));
    receiver.recv_timeout(BOUND).expect("it ends in time")
}

#[test]
fn an_interruption_takes_everything_back() {
    let Some(person) = Person::start() else {
        return;
    };
    fs::write(person.file("musher.toml"), PATIENT).expect("written");
    let mut child = person.start_adding(Path::new("/"));
    let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    // The line is there, and the program is on its way.
    let mut lines = lines.map_while(Result::ok);
    assert!(lines.any(|line| line.starts_with("authorized_keys")));
    person.interrupt(child);
}

#[test]
fn a_step_that_was_interrupted_is_taken_back() {
    for (program, at) in [("mv", "musher/shim"), ("mv", "authorized_keys")] {
        let Some(person) = Person::start() else {
            return;
        };
        fs::write(person.file("musher.toml"), PATIENT).expect("written");
        let gate = gate(person.host.path(), program, at, true);
        let child = person.start_adding(Path::new("/"));
        gate.reached();
        kill_process(Pid::from_child(&child), Signal::INT).expect("it runs");
        gate.open();
        person.interrupted(child);
    }
}

#[test]
fn a_key_is_taken_back_as_soon_as_it_is_made() {
    let Some(person) = Person::start() else {
        return;
    };
    fs::write(person.file("musher.toml"), PATIENT).expect("written");
    let local = person.file("local-programs");
    fs::create_dir(&local).expect("made");
    let gate = gate(&local, "ssh-keygen", "ed25519", false);
    let child = person.start_adding(&local);
    gate.reached();
    assert!(person.file("keys/b1").exists());
    person.interrupt(child);
}

#[test]
fn what_was_there_before_is_put_back() {
    let Some(person) = Person::start() else {
        return;
    };
    fs::write(person.file("musher.toml"), PATIENT).expect("written");
    let added = person.add("");
    assert_eq!(added.code, Some(0), "{}{}", added.stdout, added.stderr);
    // As another release might have left it.
    let shim = person.file("there/musher/shim");
    let text = fs::read_to_string(&shim).expect("read") + "# of another release\n";
    fs::write(&shim, &text).expect("written");
    let keys = person.file("home/.ssh/authorized_keys");
    let lines = person.keys().replace("restrict,", "restrict,no-pty,");
    fs::write(&keys, &lines).expect("written");
    let current = person.file("there/musher/current");
    let installed = fs::read_to_string(&current).expect("read");

    let program = std::env::current_exe().expect("this test");
    let failed = person.add(&format!("--binary {}", program.display()));
    assert_eq!(failed.code, Some(3), "{}", failed.stderr);
    assert!(failed.stdout.contains("brought up to date"));
    assert!(
        failed.stderr.contains("musher/shim`, as it was before"),
        "{}",
        failed.stderr
    );
    assert_eq!(fs::read_to_string(&shim).expect("read"), text);
    assert_eq!(fs::read_to_string(&current).expect("read"), installed);
    assert_eq!(person.keys(), lines);
    let programs = fs::read_dir(person.file("there/musher")).expect("listed");
    let hashes = programs.filter(|e| e.as_ref().expect("an entry").file_name().len() == 64);
    assert_eq!(hashes.count(), 1, "the program that failed is left");

    let removed = person.machine("remove b1 --yes");
    assert_eq!(removed.code, Some(0), "{}", removed.stderr);
    person.assert_clean(PATIENT);
}
