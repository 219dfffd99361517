//! A history on a real disk: kept, kept small, and never in the way.

use std::path::Path;
use std::time::Duration;

use musher_api::coordinator as api;
use musher_scheduler::{BuildKind, Confidence, Estimate, MachineSpec, SpeedFactor, Subject};
use serde_json::json;

use super::database::{Database, OpenError, Selection};
use super::{
    GraphNode, History, HistoryError, PastAttempt, PastOutcome, RequestGraph, export, read, report,
};
use crate::testing::path;

/// An attempt at `NAME.drv` that took so many seconds.
fn attempt(name: &str, machine: &str, seconds: u64) -> PastAttempt {
    PastAttempt {
        drv: path(&format!("{name}.drv")),
        system: "x86_64-linux".to_owned(),
        kind: BuildKind::Ordinary,
        machine: machine.into(),
        outcome: PastOutcome::Built,
        started: 1_000_000 + seconds,
        wall: Duration::from_secs(seconds),
        took: Duration::from_secs(seconds + 1),
        cpu: Some(Duration::from_secs(2 * seconds)),
        peak_memory: Some(1 << 30),
        sent: 77,
        output_bytes: Some(4096),
    }
}

fn machine(name: &str, factor: f64) -> MachineSpec {
    MachineSpec {
        id: name.into(),
        systems: ["x86_64-linux".to_owned()].into(),
        slots: 1,
        speed_factor: SpeedFactor::new(factor).expect("a factor"),
        supported_features: [].into(),
        mandatory_features: [].into(),
        memory: None,
    }
}

async fn open(dir: &Path) -> History {
    History::open(History::path(dir)).await
}

fn estimate(history: &History, name: &str) -> Estimate {
    let drv = path(&format!("{name}.drv"));
    history.estimate_of(&Subject {
        name,
        drv: Some(&drv),
        system: "x86_64-linux",
        kind: BuildKind::Ordinary,
    })
}

fn asks(name: &str) -> api::HistoryRequest {
    api::HistoryRequest {
        name: name.to_owned(),
        most: 0,
    }
}

fn database(dir: &Path) -> Database {
    Database::open(&History::path(dir)).expect("it opens")
}

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

#[tokio::test]
async fn what_is_learnt_outlives_the_coordinator() {
    let dir = dir();
    let history = open(dir.path()).await;
    assert_eq!(estimate(&history, "app-1"), Estimate::UNKNOWN);
    history.note(attempt("app-1", "b1", 30));
    let known = estimate(&history, "app-1");
    assert_eq!((known.seconds, known.confidence), (30.0, Confidence::Known));
    history.settle().await;
    let next = open(dir.path()).await;
    assert_eq!(estimate(&next, "app-1"), known);
    assert_eq!(estimate(&next, "app-2").confidence, Confidence::Similar);
}

#[tokio::test]
async fn what_comes_out_is_what_went_in() {
    let dir = dir();
    let outcomes = [
        PastOutcome::Built,
        PastOutcome::Failed,
        PastOutcome::Stopped,
        PastOutcome::OutOfMemory,
        PastOutcome::Lost,
    ];
    let attempts: Vec<_> = (outcomes.into_iter())
        .map(|outcome| PastAttempt {
            outcome,
            kind: BuildKind::FixedOutput,
            cpu: None,
            peak_memory: (outcome == PastOutcome::OutOfMemory).then_some(5),
            output_bytes: None,
            ..attempt("app-1", "b1", 3)
        })
        .collect();
    let mut database = database(dir.path());
    database.add_attempts(&attempts).expect("written");
    let named = Selection::Named("app".to_owned());
    let mut past = database.past(&named, 10).expect("read");
    past.reverse();
    assert_eq!(past, attempts);
    let count = |selection| database.past(&selection, 10).expect("read").len();
    assert_eq!(count(Selection::Named("app-1".to_owned())), 5);
    assert_eq!(count(Selection::Named("app-2".to_owned())), 0);
    let drv = path("app-1.drv").to_basename();
    assert_eq!(count(Selection::Derivation(drv)), 5);
    let other = path("app-2.drv").to_basename();
    assert_eq!(count(Selection::Derivation(other)), 0);
}

#[tokio::test]
async fn of_a_package_the_newest_are_kept() {
    let dir = dir();
    let mut database = database(dir.path());
    for seconds in 0..30 {
        let app = attempt(&format!("app-{seconds}"), "b1", seconds);
        database.add_attempts(&[app]).expect("written");
    }
    let other = attempt("tool-1", "b1", 1);
    database.add_attempts(&[other]).expect("written");
    let kept = |name: &str| {
        let named = Selection::Named(name.to_owned());
        database.past(&named, 1000).expect("read")
    };
    let seconds: Vec<_> = (kept("app").iter())
        .map(|attempt| attempt.wall.as_secs())
        .collect();
    assert_eq!(seconds, (10..30).rev().collect::<Vec<_>>());
    assert_eq!(kept("tool").len(), 1);
}

#[tokio::test]
async fn in_all_no_more_is_kept_than_is_allowed() {
    let dir = dir();
    let mut database = database(dir.path());
    database.keep(5000);
    for start in (0..7500).step_by(500) {
        let some = (start..start + 500).map(|number| attempt(&format!("p{number}"), "b1", 1));
        let some: Vec<_> = some.collect();
        database.add_attempts(&some).expect("written");
    }
    let (mut count, mut first) = (0, None);
    let read = database.lessons(700, |lessons| {
        count += lessons.len();
        first = first.take().or_else(|| lessons.first().cloned());
    });
    assert_eq!((read.expect("read"), count), (6000, 6000));
    let first = first.expect("some").drv;
    assert_eq!(first.name(), "p1500.drv");
}

#[tokio::test]
async fn a_damaged_history_is_set_aside() {
    let dir = dir();
    let path = History::path(dir.path());
    std::fs::write(&path, "this is no database".repeat(1000)).expect("written");
    let history = open(dir.path()).await;
    history.note(attempt("app-1", "b1", 30));
    history.settle().await;
    assert!(dir.path().join("history.db.damaged").exists());
    let next = open(dir.path()).await;
    assert_eq!(estimate(&next, "app-1").confidence, Confidence::Known);
}

#[tokio::test]
async fn a_history_that_turns_out_to_be_damaged_is_set_aside() {
    let dir = dir();
    let history = open(dir.path()).await;
    history.note(attempt("app-1", "b1", 30));
    history.settle().await;
    let other = rusqlite::Connection::open(History::path(dir.path())).expect("open");
    other
        .execute_batch("update attempts set outcome = 'nonsense'")
        .expect("written");
    drop(other);
    let next = open(dir.path()).await;
    assert!(dir.path().join("history.db.damaged").exists());
    next.note(attempt("app-2", "b1", 30));
    next.settle().await;
    assert_eq!(estimate(&next, "app-2").confidence, Confidence::Known);
    let last = open(dir.path()).await;
    assert_eq!(estimate(&last, "app-2").confidence, Confidence::Known);
    assert_eq!(estimate(&last, "app-1").confidence, Confidence::Similar);
}

#[tokio::test]
async fn where_nothing_can_be_kept_it_is_learnt_all_the_same() {
    let dir = dir();
    // Where the file would be there is a directory.
    std::fs::create_dir(History::path(dir.path())).expect("made");
    let history = open(dir.path()).await;
    history.note(attempt("app-1", "b1", 30));
    history.settle().await;
    assert_eq!(estimate(&history, "app-1").confidence, Confidence::Known);
    assert!(report::answer(&history, asks("app")).await.is_none());
    assert!(History::path(dir.path()).is_dir());
}

#[tokio::test]
async fn a_full_disk_is_waited_out() {
    let dir = dir();
    let history = open(dir.path()).await;
    // No page more than it has.
    history.ask(|database| database.limit(true)).await;
    let big = "x".repeat(100);
    for number in 0..200 {
        history.note(attempt(&format!("{big}{number}"), "b1", 1));
    }
    history.settle().await;
    history.ask(|database| database.limit(false)).await;
    history.note(attempt("app-1", "b1", 30));
    history.settle().await;
    let next = open(dir.path()).await;
    assert_eq!(estimate(&next, "app-1").confidence, Confidence::Known);
    assert!(!dir.path().join("history.db.damaged").exists());
}

#[tokio::test]
async fn a_newer_history_is_left_as_it_is() {
    let dir = dir();
    drop(database(dir.path()));
    let path = History::path(dir.path());
    let other = rusqlite::Connection::open(&path).expect("open");
    other.pragma_update(None, "user_version", 9).expect("set");
    drop(other);
    assert!(matches!(
        Database::open(&path),
        Err(OpenError::Newer { found: 9 })
    ));
    let history = open(dir.path()).await;
    history.note(attempt("app-1", "b1", 30));
    history.settle().await;
    let error = read(dir.path(), &[], &asks("app")).expect_err("newer");
    assert!(matches!(error, HistoryError::Newer { found: 9, .. }));
}

#[tokio::test]
async fn a_person_is_told_the_same_with_and_without_a_coordinator() {
    let dir = dir();
    let history = open(dir.path()).await;
    let fleet = [machine("b1", 1.0), machine("b2", 1.0)];
    for spec in &fleet {
        history.configure(spec);
    }
    for number in 0..10 {
        let name = format!("app{number}-1");
        history.note(attempt(&name, "b1", 10));
        history.note(attempt(&name, "b2", 20));
    }
    history.note(PastAttempt {
        outcome: PastOutcome::Failed,
        ..attempt("app3-2", "b1", 4)
    });
    let answer = report::answer(&history, asks("app3")).await.expect("read");
    let told: Vec<_> = (answer.attempts.iter())
        .map(|attempt| (attempt.name.as_str(), attempt.outcome.as_str()))
        .collect();
    let expected = [
        ("app3-2", "failed"),
        ("app3-1", "built"),
        ("app3-1", "built"),
    ];
    assert_eq!(told, expected);
    assert_eq!(answer.estimates.len(), 1);
    assert_eq!(answer.estimates[0].confidence, "similar");
    let factors: Vec<_> = answer.speeds.iter().map(|speed| speed.factor).collect();
    assert!(factors[0] > 1.1 && factors[1] < 0.9, "{factors:?}");
    let alone = read(dir.path(), &fleet, &asks("app3")).expect("read");
    assert_eq!(alone, answer);
    let drv = format!("/nix/store/{}", path("app3-1.drv").to_basename());
    let of_drv = read(dir.path(), &fleet, &asks(&drv)).expect("read");
    assert_eq!(of_drv.attempts.len(), 2);
    assert_eq!(of_drv.estimates[0].confidence, "known");
    let all = read(dir.path(), &fleet, &asks("")).expect("read");
    assert_eq!(all.attempts.len(), 10);
    assert!(all.estimates.is_empty());
}

/// The graph of a chain of so many builds, each named after its place.
fn chain(length: usize) -> RequestGraph {
    let name = |number: usize| path(&format!("n{number}-1.drv"));
    let node = |number: usize| {
        let node = GraphNode {
            drv: name(number),
            machine: "b1".into(),
            speed: 1.0,
            wall: Duration::from_millis(1500),
            output_bytes: 10,
            is_fixed: number == 0,
            deps: Vec::new(),
        };
        let needs = match number {
            0 => vec![path("elsewhere.drv")],
            _ => vec![name(number - 1)],
        };
        (name(number), (node, needs))
    };
    let root = name(length - 1);
    RequestGraph::new(root, 1_000_000, &(0..length).map(node).collect())
}

#[tokio::test]
async fn a_graph_comes_out_as_graphs_are_exchanged() {
    let dir = dir();
    let history = open(dir.path()).await;
    history.configure(&machine("b1", 2.0));
    history.record(chain(3));
    history.settle().await;
    let (graph, builds) = export(dir.path(), None).expect("kept");
    assert_eq!(builds, 3);
    let node = |name: &str, is_fixed: bool, deps: &[usize]| {
        json!({
            "name": name, "seconds": 3.0, "output_bytes": 10,
            "fixed_output": is_fixed, "deps": deps,
        })
    };
    let nodes = [
        node("n0-1", true, &[]),
        node("n1-1", false, &[0]),
        node("n2-1", false, &[1]),
    ];
    assert_eq!(graph, json!({ "root": "n2-1", "nodes": nodes }));
    assert!(matches!(
        export(dir.path(), Some(9)),
        Err(HistoryError::NoRequest { request: Some(9) })
    ));
    let all = read(dir.path(), &[], &asks("")).expect("read");
    assert_eq!(all.requests.len(), 1);
    assert_eq!(all.requests[0].builds, 3);
}

#[test]
fn a_graph_has_what_is_needed_before_what_needs_it() {
    let graph = chain(5000);
    for (place, node) in graph.nodes.iter().enumerate() {
        assert!(node.deps.iter().all(|dep| *dep < place));
    }
    assert_eq!(graph.nodes.len(), 5000);
    assert_eq!(
        graph
            .nodes
            .iter()
            .map(|node| node.deps.len())
            .sum::<usize>(),
        4999
    );
}

#[tokio::test]
async fn graphs_are_kept_up_to_a_number_and_a_size() {
    let dir = dir();
    let mut database = database(dir.path());
    for length in 1..=60 {
        database.add_graph(&chain(length)).expect("written");
    }
    let builds = |database: &Database| -> Vec<u64> {
        let requests = database.requests().expect("read");
        requests.iter().map(|request| request.builds).collect()
    };
    assert_eq!(builds(&database), (11..=60).rev().collect::<Vec<_>>());
    database.add_graph(&chain(99_900)).expect("written");
    // With 99,900 there is room for 60 more, and not for 59 more.
    assert_eq!(builds(&database), [99_900, 60]);
    database.add_graph(&chain(100_001)).expect("passed over");
    assert_eq!(builds(&database).len(), 2);
}
