//! The commands that ask the coordinator, and a coordinator that runs. Its
//! machines cannot be reached: nobody listens on port 1.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use expect_test::expect;
use rustix::process::{Pid, Signal, kill_process};

use super::support::{Place, run};

const CONFIG: &str = r#"
machine = [
    { name = "a", connect = "ssh-ng://127.0.0.1:1", systems = ["x86_64-linux"], max-jobs = 4 },
    { name = "b", connect = "ssh-ng://127.0.0.1:1", systems = ["x86_64-linux"] },
]
"#;

/// A `musher daemon`; ended when dropped.
struct Daemon(Child);

impl Daemon {
    /// Starts one in `place`, and waits until it has tried its machines.
    fn start(place: &Place) -> Self {
        Self::start_in(place, "run")
    }

    /// The same with another directory of sockets.
    fn start_in(place: &Place, run: &str) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_musher"))
            .args(words_in(place, run, "daemon"))
            .env_clear()
            .env("HOME", place.path())
            .env("NIX_CONF_DIR", place.path())
            .env("NIX_SSHOPTS", "-F none")
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut daemon = Self(child.expect("musher starts"));
        let log = daemon.0.stderr.take().expect("its log");
        wait_until_tried(log);
        daemon
    }
}

/// Reads the log of a daemon until it has found both machines away, and keeps
/// reading behind.
fn wait_until_tried(log: ChildStderr) {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(log).lines().map_while(Result::ok);
        let mut missing = vec![" machine=a ", " machine=b "];
        while !missing.is_empty()
            && let Some(line) = lines.next()
        {
            missing.retain(|machine| !(line.contains("machine away") && line.contains(machine)));
        }
        if missing.is_empty() {
            // Whoever waited may have given up.
            let _ = tell.send(());
        }
        lines.for_each(drop);
    });
    told.recv_timeout(Duration::from_secs(20))
        .expect("the machines are tried in time");
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.0.kill().expect("our child");
        self.0.wait().expect("its end");
    }
}

/// A command line with all places inside of `place`.
fn words(place: &Place, command: &str) -> Vec<String> {
    words_in(place, "run", command)
}

fn words_in(place: &Place, run: &str, command: &str) -> Vec<String> {
    let dir = place.path().display();
    let places = format!("--config {dir}/musher.toml --run {dir}/{run} --state {dir}/state");
    let words = format!("{places} {command}");
    words.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn another_coordinator_than_the_one_meant_is_not_asked_to_build() {
    let place = Place::with(&[("musher.toml", CONFIG)]);
    let _daemon = Daemon::start(&place);
    place.check(
        "build /nix/store/x.drv --run DIR/run --state DIR/other",
        &expect![[r#"
        exit 2
        --- messages
        error: the coordinator on `DIR/run/control.sock` has the state `DIR/state`, not `DIR/other`
        help:  give the options that it was started with, or a directory of sockets of its own by `--run`
    "#]],
    );
    // By another name it is the same.
    std::os::unix::fs::symlink(place.path().join("state"), place.path().join("link"))
        .expect("linked");
    let log = run(
        &words(&place, "log /x")
            .iter()
            .map(|word| word.replace("/state", "/link"))
            .collect::<Vec<_>>(),
        place.path(),
    );
    assert!(log.contains("`/x` is not in the home store"), "{log}");
}

/// A daemon that was just started, whose standard output can be read.
fn begin(place: &Place, run: &str, command: &str) -> Daemon {
    let child = Command::new(env!("CARGO_BIN_EXE_musher"))
        .args(words_in(place, run, command))
        .env_clear()
        .env("HOME", place.path())
        .env("NIX_CONF_DIR", place.path())
        .env("NIX_SSHOPTS", "-F none")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    Daemon(child.expect("musher starts"))
}

impl Daemon {
    /// What it says on standard output until it lets go of that.
    fn says(&mut self) -> String {
        let mut said = String::new();
        let mut out = self.0.stdout.take().expect("its output");
        out.read_to_string(&mut said).expect("read");
        said
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a number"), signal).expect("our child");
    }
}

/// Starts a daemon that waits for another, which the test is, and returns what
/// that holds.
fn begin_behind(place: &Place) -> (File, Daemon) {
    let run = place.path().join("run");
    fs::create_dir(&run).expect("made");
    let lock = File::create(run.join("daemon.lock")).expect("made");
    lock.lock().expect("free");
    let daemon = begin(place, "run", "daemon --on-demand --linger 600");
    // Made before it waits.
    let logs = place.path().join("state/logs");
    let since = Instant::now();
    while !logs.exists() {
        assert!(
            since.elapsed() < Duration::from_secs(20),
            "it makes nothing"
        );
        std::thread::yield_now();
    }
    (lock, daemon)
}

#[test]
fn a_daemon_that_is_told_to_read_while_it_starts_goes_on() {
    let place = Place::with(&[("musher.toml", CONFIG)]);
    let (lock, mut daemon) = begin_behind(&place);
    daemon.signal(Signal::HUP);
    drop(lock);
    assert_eq!(daemon.says(), "ready\n");
}

#[test]
fn a_daemon_that_is_told_to_stop_while_it_starts_ends_well() {
    let place = Place::with(&[("musher.toml", CONFIG)]);
    let (_lock, mut daemon) = begin_behind(&place);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.says(), "");
    assert!(daemon.0.wait().expect("its end").success());
}

#[test]
fn a_coordinator_that_is_to_stay_takes_the_place_of_one_on_demand() {
    let place = Place::with(&[("musher.toml", CONFIG)]);
    let mut on_demand = begin(&place, "run", "daemon --on-demand --linger 600");
    assert_eq!(on_demand.says(), "ready\n");
    let _daemon = Daemon::start(&place);
    assert!(on_demand.0.wait().expect("its end").success());
}

#[test]
fn two_coordinators_do_not_share_their_state() {
    let place = Place::with(&[("musher.toml", CONFIG)]);
    let daemon = Daemon::start(&place);
    let refused = |run: &str| {
        let said = super::support::run(&words_in(&place, run, "daemon"), place.path());
        let said = said.replace(place.path().to_string_lossy().as_ref(), "DIR");
        said.replace(&format!("process {}", daemon.0.id()), "process PID")
    };
    expect![[r#"
        exit 2
        --- messages
        error: another `musher daemon`, process PID (`musher`), keeps its state in `DIR/state`
        help:  use it by `--run DIR/run`, or give this one its own `--run` and `--state`
    "#]]
    .assert_eq(&refused("other"));
    expect![[r#"
        exit 2
        --- messages
        error: another `musher daemon`, process PID (`musher`), holds `DIR/run/daemon.lock`
        help:  stop it first, or give this one its own `--run` and `--state`
    "#]]
    .assert_eq(&refused("run"));
}

#[test]
fn sockets_may_lie_deeper_than_their_addresses_reach() {
    let place = Place::with(&[("musher.toml", CONFIG)]);
    let deep = "deep/".repeat(30);
    let _daemon = Daemon::start_in(&place, &deep);
    let list = run(&words_in(&place, &deep, "machine list"), place.path());
    assert!(list.contains("`a` is away: "), "{list}");
}

#[test]
fn without_a_coordinator_there_is_advice() {
    let place = Place::with(&[("musher.toml", CONFIG)]);
    place.check(
        "status --run DIR/run",
        &expect![[r#"
        exit 3
        --- messages
        error: the coordinator is not running: nobody listens on `DIR/run/control.sock`
        cause: No such file or directory (os error 2)
        help:  start it with `musher daemon`, or name its directory of sockets by `--run`
    "#]],
    );
    place.check(
        "machine drain a --run DIR/run",
        &expect![[r#"
        exit 3
        --- messages
        error: the coordinator is not running: nobody listens on `DIR/run/control.sock`
        cause: No such file or directory (os error 2)
        help:  start it with `musher daemon`, or name its directory of sockets by `--run`
    "#]],
    );
    place.check(
        "reload --run DIR/run",
        &expect![[r#"
        exit 3
        --- messages
        error: the coordinator is not running: nobody listens on `DIR/run/control.sock`
        cause: No such file or directory (os error 2)
        help:  start it with `musher daemon`, or name its directory of sockets by `--run`
    "#]],
    );
}

#[test]
fn machines_are_drained_and_resumed_and_reloaded() {
    let place = Place::with(&[("musher.toml", CONFIG)]);
    let _daemon = Daemon::start(&place);
    place.check(
        "machine drain a --run DIR/run",
        &expect![[r#"
        exit 0
        --- messages
        note:  `a` gets no new builds
    "#]],
    );
    place.check(
        "machine drain x --run DIR/run",
        &expect![[r#"
        exit 2
        --- messages
        error: no machine is called `x`
        help:  there are: a, b
    "#]],
    );
    place.check(
        "machine resume a --run DIR/run",
        &expect![[r#"
        exit 0
        --- messages
        note:  `a` gets builds
    "#]],
    );
    place.check(
        "reload --run DIR/run",
        &expect![[r#"
        exit 0
        --- messages
        note:  nothing has changed
    "#]],
    );
    let other = CONFIG
        .replace("max-jobs = 4", "max-jobs = 5")
        .replace("\"b\"", "\"c\"");
    fs::write(place.path().join("musher.toml"), other).expect("written");
    let list = run(&words(&place, "machine list"), place.path());
    for expected in [
        "not loaded",
        "the coordinator still has `b`",
        "`musher reload` tells it",
    ] {
        assert!(list.contains(expected), "{list}");
    }
    place.check(
        "reload --run DIR/run --json",
        &expect![[r#"
        exit 0
        {
          "changes": [
            "machine `a` offers something else",
            "machine `c` is new",
            "machine `b` is gone"
          ]
        }
    "#]],
    );
}

#[test]
fn the_state_of_machines_is_shown_everywhere() {
    let place = Place::with(&[("musher.toml", CONFIG)]);
    let _daemon = Daemon::start(&place);
    let list = run(&words(&place, "machine list"), place.path());
    // The words of the reason are the store's.
    for line in [
        "NAME  CONNECT               KIND  SYSTEMS       JOBS  SPEED  STATE  RUNNING  FEATURES\n",
        "a     ssh-ng://127.0.0.1:1  nix   x86_64-linux  4     1      away   0/4      -\n",
        "note:  `a` is away: ",
        "the host refuses connections on this port",
    ] {
        assert!(list.contains(line), "{list}");
    }
    let status = run(&words(&place, "status"), place.path());
    assert!(status.contains("a        away   0/4"), "{status}");
    let drv = "Derive([(\"out\",\"\",\"r:sha256\",\"\")],[],[],\"x86_64-linux\",\"/bin/sh\",[],[])";
    fs::write(place.path().join("x.drv"), drv).expect("written");
    place.check("doctor DIR/x.drv --run DIR/run", &expect![[r#"
        exit 1
        derivation  DIR/x.drv
        needs       `x86_64-linux` with feature `ca-derivations`
        by the      coordinator

        MACHINE  CAN BUILD IT  NOTE
        a        no            lacks `ca-derivations`
        b        no            lacks `ca-derivations`

        outcome  no machine could ever build `x86_64-linux` with feature `ca-derivations`; so at the hook entrance none of musher's builders fits, Nix declines them all by itself, and with `max-jobs = 0` it ends with an error about the required system or features
        help     if `a` has it, add "ca-derivations" to its `supported-features`
                 if `b` has it, add "ca-derivations" to its `supported-features`
                 after a change, run `musher reload` and `musher setup --write`
    "#]]);
}
