//! What becomes of builds when machines come and go.

use musher_protocol::types::BuildStatus;

use crate::core::Command;
use crate::testing::{Team, ended, soon, spec, waits};

#[tokio::test(start_paused = true)]
async fn a_machine_that_goes_away_loses_its_builds_to_others() {
    let mut team = Team::new(&[("b1", 1), ("b2", 1)]).await;
    let mut progress = team.request(spec("app", &[])).await;
    let first = team.next_try().await;
    assert_eq!(first.machine, "b1");
    team.machine("b1").reachable(false);
    soon(first.is_dropped()).await;
    let second = team.next_try().await;
    assert_eq!(second.machine, "b2");
    second.succeeds().await;
    ended(&mut progress).await;
}

#[tokio::test(start_paused = true)]
async fn a_build_waits_for_the_only_machine_and_says_why() {
    let mut team = Team::new(&[("b1", 1)]).await;
    let mut progress = team.request(spec("app", &[])).await;
    let first = team.next_try().await;
    team.machine("b1").reachable(false);
    soon(first.is_dropped()).await;
    waits(&mut progress, "b1 is away: it went away").await;
    // The next try says something else.
    waits(&mut progress, "b1 is away: reaching it is not possible").await;
    team.machine("b1").reachable(true);
    team.next_try().await.succeeds().await;
    ended(&mut progress).await;
}

#[tokio::test(start_paused = true)]
async fn what_only_a_child_of_ours_could_build_is_given_up_once_that_does_not_start() {
    let mut team = Team::new(&[]).await;
    team.configure(&[("own@child", 1)]).await;
    team.until_away("own", false).await;
    let mut app = team.request(spec("app", &[])).await;
    let first = team.next_try().await;
    team.machine("own@child").reachable(false);
    soon(first.is_dropped()).await;
    waits(&mut app, "own is away").await;
    let failed = ended(&mut app).await;
    assert_eq!(failed.result.status, BuildStatus::TransientFailure);
    let text = failed.result.error.to_string();
    expect_test::expect!["the worker that could build it does not start: `own`: reaching it is not possible with this kind of store"].assert_eq(&text);
    assert!(team.view().await.builds.is_empty());

    // Whoever asks again may have seen to it.
    let mut again = team.request(spec("app", &[])).await;
    waits(&mut again, "own is away").await;
    team.machine("own@child").reachable(true);
    team.next_try().await.succeeds().await;
    ended(&mut again).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_else_could_build_it_is_waited_for() {
    let mut team = Team::new(&[]).await;
    team.configure(&[("own@child", 1), ("b1", 1)]).await;
    team.until_away("own", false).await;
    team.until_away("b1", false).await;
    for name in ["own@child", "b1"] {
        team.machine(name).reachable(false);
    }
    let mut app = team.request(spec("app", &[])).await;
    waits(&mut app, "b1, own is away: reaching it is not possible").await;
    soon(team.machine("own@child").was_tried(9)).await;
    team.machine("b1").reachable(true);
    team.next_try().await.succeeds().await;
    assert_eq!(ended(&mut app).await.result.status, BuildStatus::Built);
}

#[tokio::test(start_paused = true)]
async fn a_new_machine_takes_what_waits() {
    let mut team = Team::new(&[("b1", 1)]).await;
    let _app = team.request(spec("app", &[])).await;
    let _on_b1 = team.next_try().await;
    let mut next = team.request(spec("next", &[])).await;
    waits(&mut next, "b1 has its one slot taken").await;
    let changes = team.configure(&[("b1", 1), ("b2", 1)]).await;
    assert_eq!(changes, ["machine `b2` is new"]);
    let attempt = team.next_try().await;
    assert_eq!(
        (attempt.build.as_str(), attempt.machine.as_str()),
        ("next", "b2")
    );
}

#[tokio::test(start_paused = true)]
async fn more_slots_are_used_at_once() {
    let mut team = Team::new(&[("b1", 1)]).await;
    let _app = team.request(spec("app", &[])).await;
    let _on_b1 = team.next_try().await;
    let mut next = team.request(spec("next", &[])).await;
    waits(&mut next, "b1 has its one slot taken").await;
    let changes = team.configure(&[("b1", 2)]).await;
    assert_eq!(changes, ["machine `b1` offers something else"]);
    assert_eq!(team.next_try().await.build, "next");
}

#[tokio::test(start_paused = true)]
async fn a_removed_machine_gives_its_builds_back() {
    let mut team = Team::new(&[("b1", 1), ("b2", 1)]).await;
    let _app = team.request(spec("app", &[])).await;
    let first = team.next_try().await;
    assert_eq!(first.machine, "b1");
    let changes = team.configure(&[("b2", 1)]).await;
    assert_eq!(changes, ["machine `b1` is gone"]);
    soon(first.is_dropped()).await;
    assert_eq!(team.next_try().await.machine, "b2");
}

#[tokio::test(start_paused = true)]
async fn the_last_machines_end_refuses_what_runs_there() {
    let mut team = Team::new(&[("b1", 1)]).await;
    let mut progress = team.request(spec("app", &[])).await;
    let first = team.next_try().await;
    team.configure(&[]).await;
    soon(first.is_dropped()).await;
    let text = ended(&mut progress).await.result.error.to_string();
    assert!(text.contains("there are no machines"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_moved_machine_keeps_its_builds_whatever_they_waited_for() {
    let mut team = Team::new(&[("b1", 1)]).await;
    let mut app = team.request(spec("app", &["src"])).await;
    let first = team.next_try().await;
    let mut next = team.request(spec("next", &[])).await;
    waits(&mut next, "b1 has its one slot taken").await;
    let changes = team.configure(&[("b1@elsewhere", 1)]).await;
    assert_eq!(changes, ["machine `b1` is reached in another way"]);
    soon(first.is_dropped()).await;
    let again = team.next_try().await;
    assert_eq!(again.build, "app");
    // Nothing is known of what is held there.
    assert_eq!(again.missing, ["lib", "src"]);
    again.succeeds().await;
    ended(&mut app).await;
    team.next_try().await.succeeds().await;
    ended(&mut next).await;
}

#[tokio::test(start_paused = true)]
async fn a_drained_machine_stays_so_when_it_moves() {
    let mut team = Team::new(&[("b1", 1)]).await;
    let drain = |resume| {
        let core = team.core.clone();
        async move {
            let drain = |reply| Command::Drain {
                machine: "b1".into(),
                resume,
                reply,
            };
            assert!(core.ask(drain).await.expect("the core runs"));
        }
    };
    drain(false).await;
    let resume = drain(true);
    team.configure(&[("b1@elsewhere", 1)]).await;
    team.until_away("b1", false).await;
    let mut progress = team.request(spec("app", &[])).await;
    waits(&mut progress, "b1 is drained").await;
    team.no_try().await;
    resume.await;
    team.next_try().await;
}

#[tokio::test(start_paused = true)]
async fn a_stopped_core_hands_everything_back() {
    let mut team = Team::new(&[("b1", 1)]).await;
    let mut running = team.request(spec("app", &[])).await;
    let attempt = team.next_try().await;
    attempt.says("half of it");
    let mut waiting = team.request(spec("next", &[])).await;
    waits(&mut waiting, "b1 has its one slot taken").await;
    let stop = |reply| Command::Stop { reply };
    soon(team.core.ask(stop)).await.expect("an answer");
    soon(attempt.is_dropped()).await;
    // Those who follow a build see that nobody tells them more.
    for mut progress in [running.clone(), waiting.clone()] {
        progress.mark_unchanged();
        soon(progress.changed())
            .await
            .expect_err("the core is gone");
    }
    running.mark_unchanged();
    drop((running, waiting));
    let files = std::fs::read_dir(team.logs.path()).expect("a directory");
    assert_eq!(files.count(), 0, "no log is left");
    let view = team.core.ask(|reply| Command::View { reply }).await;
    assert!(view.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_is_waited_for_stays_true() {
    let mut team = Team::new(&[("b1", 1), ("b2", 1)]).await;
    team.machine("b2").reachable(false);
    team.until_away("b2", true).await;
    let _one = team.request(spec("one", &[])).await;
    let one = team.next_try().await;
    let _two = team.request(spec("two", &[])).await;
    let mut three = team.request(spec("three", &[])).await;
    waits(
        &mut three,
        "1 build is before it: b1 has its one slot taken; b2 is away",
    )
    .await;

    // A machine comes back, and another build takes it.
    team.machine("b2").reachable(true);
    assert_eq!(team.next_try().await.build, "two");
    waits(
        &mut three,
        "waiting for a machine: b1, b2 has its one slot taken",
    )
    .await;

    for (resume, reason) in [
        (false, "b2 has its one slot taken; b1 is drained"),
        (true, "b1, b2 has its one slot taken"),
    ] {
        let drain = |reply| Command::Drain {
            machine: "b1".into(),
            resume,
            reply,
        };
        assert!(team.core.ask(drain).await.expect("the core runs"));
        waits(&mut three, reason).await;
        let told = team.view().await.builds.pop().map(|build| build.waiting);
        assert_eq!(told, Some(format!("waiting for a machine: {reason}")));
    }
    drop(one);
}
