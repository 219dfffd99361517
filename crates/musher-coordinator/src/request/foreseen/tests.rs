//! Clients that ask for one derivation after the other, with machines in the
//! test's hands.

use std::sync::Arc;

use musher_api::coordinator as api;
use musher_protocol::types::BuildStatus;
use nix_derivation::Derivation;
use tokio::sync::watch;

use super::{Asking, ClientProcess, Foresight, Intended};
use crate::build::{BuildSpec, Progress};
use crate::home::{Home, Place};
use crate::request::resolve::basic;
use crate::testing::{Team, add_graph, derivation_text, ended, info, path, soon, spec};

struct Scene {
    team: Team,
    foresight: Foresight,
}

/// A build that a client asked for.
struct Build {
    progress: watch::Receiver<Progress>,
    _asking: Asking,
}

/// A process that nobody here sees.
fn client(pid: u32) -> ClientProcess {
    ClientProcess::of(&api::ClientProcess {
        pid,
        ..api::ClientProcess::default()
    })
}

/// What a client asks for that has what `name` reads at home, and all that is
/// below it.
fn of_client(name: &str, reads: &[&str], below: &[&str]) -> BuildSpec {
    let text = derivation_text(name, reads);
    let derivation = Derivation::from_aterm_bytes(text.as_bytes(), name).expect("a derivation");
    let inputs = reads.iter().chain(below).map(|name| path(name));
    BuildSpec {
        derivation: basic(&derivation, inputs).expect("acceptable"),
        ..spec(name, &[])
    }
}

impl Scene {
    /// A machine with this many slots, and these derivations at home.
    async fn new(slots: u32, graph: &str) -> Self {
        let team = Team::new(&[("b1", slots)]).await;
        add_graph(&team, graph);
        let home = Arc::new(Home::new(team.home.clone(), Place::Elsewhere));
        let foresight = Foresight::new(team.core.clone(), home);
        Self { team, foresight }
    }

    async fn ask(&self, process: ClientProcess, spec: BuildSpec) -> Build {
        let met = self.foresight.meets(process, 0, &spec);
        let mut met = met.expect("room for it");
        let progress = match met.progress {
            Some(progress) => progress,
            None => self.team.request(spec.clone()).await,
        };
        met.asking.follows(&spec, &progress);
        let _asking = met.asking;
        Build { progress, _asking }
    }

    /// The client is going to realise these.
    fn intend(&self, process: ClientProcess, names: &[&str]) {
        let intended = names.iter().map(|name| Intended {
            drv: path(&format!("{name}.drv")),
            outputs: [path(name)].into(),
        });
        self.foresight.told(process, intended.collect(), None);
    }

    /// The client has imported what it asked for, and its session leaves.
    fn comes_home(&self, name: &str, references: &[&str], build: Build) {
        self.team.home.add(info(name, references), name);
        drop(build);
    }

    /// The next attempt, which is to be for `name`.
    async fn tried(&mut self, name: &str) -> crate::testing::Try {
        let attempt = self.team.next_try().await;
        assert_eq!(attempt.build, name);
        attempt
    }
}

#[tokio::test(start_paused = true)]
async fn each_build_is_made_once_before_it_is_asked_for() {
    let mut scene = Scene::new(1, "a; b < a; c < b").await;
    let mut a = scene.ask(client(1), of_client("a", &[], &[])).await;
    scene.intend(client(1), &["a", "b", "c"]);
    scene.tried("a").await.succeeds().await;
    ended(&mut a.progress).await;
    let b = scene.tried("b").await;
    assert_eq!(b.missing, [""; 0], "it lies there");
    b.says("hello");
    b.succeeds().await;
    let c = scene.tried("c").await;
    c.says("half of it");
    scene.comes_home("a", &[], a);
    // What was built: with its log and, before it is asked for, its bytes.
    let mut b = scene.ask(client(1), of_client("b", &["a"], &[])).await;
    let end = ended(&mut b.progress).await;
    let mut attempt = b.progress.borrow().attempt.clone().expect("an attempt");
    let log = soon(attempt.log.read(0)).await.expect("readable");
    assert_eq!(log.as_deref(), Some(&b"hello\n"[..]));
    let held = end.held.as_ref().expect("outputs");
    assert!(held.take(&path("b")).is_some());
    scene.comes_home("b", &[], b);
    // What is being built.
    let mut build = scene.ask(client(1), of_client("c", &["b"], &[])).await;
    let mut attempt = build.progress.borrow().attempt.clone().expect("an attempt");
    let log = soon(attempt.log.read(0)).await.expect("readable");
    assert_eq!(log.as_deref(), Some(&b"half of it\n"[..]));
    c.succeeds().await;
    ended(&mut build.progress).await;
    scene.team.no_try().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_built_elsewhere_is_read_from_there() {
    let mut scene = Scene::new(1, "a; b < a; c < b").await;
    let a = scene.ask(client(1), of_client("a", &[], &[])).await;
    scene.intend(client(1), &["a", "b", "c"]);
    let attempt = scene.tried("a").await;
    scene.team.configure(&[("b1", 1), ("b2", 1)]).await;
    scene.team.until_away("b2", false).await;
    scene.team.machine("b1").reachable(true);
    let drain = |reply| crate::core::Command::Drain {
        machine: "b1".into(),
        resume: false,
        reply,
    };
    scene.team.core.ask(drain).await.expect("the core runs");
    attempt.succeeds().await;
    let b = scene.tried("b").await;
    assert_eq!(
        (b.machine.as_str(), &*b.missing),
        ("b2", &["a".to_owned()][..])
    );
    // It goes where it lay before it was imported, too.
    b.tastes("a");
    b.succeeds().await;
    scene.comes_home("a", &[], a);
    scene.tried("c").await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_told_once_to_who_asks_and_not_before() {
    let mut scene = Scene::new(1, "a; b < a; c < b").await;
    let mut a = scene.ask(client(1), of_client("a", &[], &[])).await;
    scene.intend(client(1), &["a", "b", "c"]);
    scene.tried("a").await.succeeds().await;
    ended(&mut a.progress).await;
    let b = scene.tried("b").await;
    b.says("oh no");
    b.fails("it is broken").await;
    scene.team.no_try().await;
    scene.comes_home("a", &[], a);
    let mut b = scene.ask(client(1), of_client("b", &["a"], &[])).await;
    let end = ended(&mut b.progress).await;
    assert_eq!(end.result.status, BuildStatus::PermanentFailure);
    let mut attempt = b.progress.borrow().attempt.clone().expect("an attempt");
    let log = soon(attempt.log.read(0)).await.expect("readable");
    assert_eq!(log.as_deref(), Some(&b"oh no\n"[..]));
    scene.team.no_try().await;
    // Who asks again wants it tried again.
    drop(b);
    let _again = scene.ask(client(1), of_client("b", &["a"], &[])).await;
    scene.tried("b").await;
}

#[tokio::test(start_paused = true)]
async fn two_clients_have_each_build_made_once() {
    let mut scene = Scene::new(2, "a; b < a; c < b").await;
    let mut a = scene.ask(client(1), of_client("a", &[], &[])).await;
    scene.intend(client(1), &["a", "b", "c"]);
    scene.tried("a").await.succeeds().await;
    ended(&mut a.progress).await;
    scene.comes_home("a", &[], a);
    let attempt = scene.tried("b").await;
    // The other one waited for the first's lock, and is faster now.
    let mut b = scene.ask(client(2), of_client("b", &["a"], &[])).await;
    scene.intend(client(2), &["a", "b", "c"]);
    scene.team.no_try().await;
    attempt.succeeds().await;
    ended(&mut b.progress).await;
    scene.tried("c").await.succeeds().await;
    scene.comes_home("b", &[], b);
    let mut c = scene.ask(client(1), of_client("c", &["b"], &[])).await;
    ended(&mut c.progress).await;
    scene.comes_home("c", &[], c);
    scene.team.no_try().await;
}

#[tokio::test(start_paused = true)]
async fn what_the_home_store_has_or_could_fetch_is_not_built() {
    let mut scene = Scene::new(4, "a; b < a; c < a; d < a").await;
    scene.team.home.could_fetch("b");
    scene.team.home.add(info("c", &[]), "c");
    let _a = scene.ask(client(1), of_client("a", &[], &[])).await;
    scene.intend(client(1), &["a", "b", "c", "d"]);
    scene.tried("a").await.succeeds().await;
    scene.tried("d").await;
    scene.team.no_try().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_only_known_to_a_client_is_not_built() {
    let mut scene = Scene::new(4, "a; b < a; c < a").await;
    let _a = scene.ask(client(1), of_client("a", &[], &[])).await;
    scene.intend(client(1), &["a", "b"]);
    // As evaluating leaves it: a source follows it.
    let of_source = Intended {
        drv: path("c.drv"),
        outputs: [path("source")].into(),
    };
    scene.foresight.told(client(1), vec![of_source], None);
    scene.tried("a").await.succeeds().await;
    let b = scene.tried("b").await;
    scene.team.no_try().await;
    // Then it is wanted.
    scene.intend(client(1), &["c"]);
    scene.tried("c").await;
    drop(b);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_for_something_else_has_nothing_more_built_ahead() {
    let mut scene = Scene::new(4, "a; b < a; c < b").await;
    let mut a = scene.ask(client(1), of_client("a", &[], &[])).await;
    scene.intend(client(1), &["a", "b", "c"]);
    scene.tried("a").await.succeeds().await;
    ended(&mut a.progress).await;
    let _ahead = scene.tried("b").await;
    scene.comes_home("a", &[], a);
    let mut other = of_client("b", &["a"], &[]);
    other.derivation.args.push("-x".into());
    let _b = scene.ask(client(1), other).await;
    scene.tried("b").await.succeeds().await;
    scene.team.no_try().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_leaves_ends_its_build_and_what_would_follow() {
    let mut scene = Scene::new(1, "a; b < a").await;
    let a = scene.ask(client(1), of_client("a", &[], &[])).await;
    scene.intend(client(1), &["a", "b"]);
    let attempt = scene.tried("a").await;
    drop(a);
    soon(attempt.is_dropped()).await;
    scene.team.no_try().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_session_it_goes_on_only_while_something_is_built() {
    let mut scene = Scene::new(1, "a; b < a; c < b").await;
    let mut a = scene.ask(client(1), of_client("a", &[], &[])).await;
    scene.intend(client(1), &["a", "b", "c"]);
    scene.tried("a").await.succeeds().await;
    ended(&mut a.progress).await;
    let b = scene.tried("b").await;
    scene.comes_home("a", &[], a);
    let moment = std::time::Duration::from_secs(60);
    tokio::time::sleep(moment).await;
    b.succeeds().await;
    scene.tried("c").await.succeeds().await;
    tokio::time::sleep(moment).await;
    // It has let go of all that by now.
    scene.team.home.add(info("b", &[]), "b");
    let _c = scene.ask(client(1), of_client("c", &["b"], &[])).await;
    scene.tried("c").await;
}

#[tokio::test]
async fn the_end_of_the_clients_process_ends_everything() {
    let mut scene = Scene::new(1, "a; b < a").await;
    let mut process = std::process::Command::new("cat")
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("it starts");
    let client = ClientProcess::running(process.id());
    let mut a = scene.ask(client, of_client("a", &[], &[])).await;
    scene.intend(client, &["a", "b"]);
    scene.tried("a").await.succeeds().await;
    ended(&mut a.progress).await;
    let b = scene.tried("b").await;
    drop(process.stdin.take());
    soon(b.is_dropped()).await;
    process.wait().expect("its end");
}

#[tokio::test(start_paused = true)]
async fn outputs_that_are_gone_are_left_to_the_client() {
    let mut scene = Scene::new(1, "a; b < a; c < b").await;
    let mut a = scene.ask(client(1), of_client("a", &[], &[])).await;
    scene.intend(client(1), &["a", "b", "c"]);
    scene.tried("a").await.succeeds().await;
    ended(&mut a.progress).await;
    scene.comes_home("a", &[], a);
    scene.tried("b").await.succeeds().await;
    scene.team.configure(&[("b1", 1), ("b2", 1)]).await;
    scene.team.until_away("b2", false).await;
    let c = scene.tried("c").await;
    scene.team.machine("b1").reachable(false);
    scene.team.until_away("b1", true).await;
    drop(c);
    let c = scene.tried("c").await;
    assert_eq!(c.machine, "b2");
    c.cannot_read("b").await;
    scene.team.no_try().await;
    // The client has it built anew.
    let _b = scene.ask(client(1), of_client("b", &["a"], &[])).await;
    scene.tried("b").await.succeeds().await;
}
