//! What becomes of a request.

use musher_protocol::types::{BuildMode, BuildStatus};

use crate::build::Stage;
use crate::builder::Fault;
use crate::core::Command;
use crate::testing::{Team, ended, path, soon, spec, waits};

fn lost() -> Fault {
    Fault::Nonsense("it hums".to_owned())
}

#[tokio::test(start_paused = true)]
async fn one_build_serves_all_who_ask() {
    let mut team = Team::new(&[("b1", 2)]).await;
    let mut alice = team.request(spec("app", &["src"])).await;
    let attempt = team.next_try().await;
    assert_eq!(attempt.missing, ["lib", "src"]);
    let mut bob = team.request(spec("app", &["src"])).await;
    team.no_try().await;
    attempt.succeeds().await;
    for progress in [&mut alice, &mut bob] {
        let ended = ended(progress).await;
        assert_eq!(ended.result.status, BuildStatus::Built);
        assert_eq!(ended.outputs["out"].path, path("app"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_finished_build_answers_as_long_as_someone_follows_it() {
    let mut team = Team::new(&[("b1", 1)]).await;
    let mut alice = team.request(spec("app", &[])).await;
    team.next_try().await.succeeds().await;
    ended(&mut alice).await;
    let mut bob = team.request(spec("app", &[])).await;
    ended(&mut bob).await;
    drop((alice, bob));
    team.no_try().await;
    let _carol = team.request(spec("app", &[])).await;
    assert_eq!(team.next_try().await.build, "app");
}

#[tokio::test(start_paused = true)]
async fn another_derivation_or_mode_is_another_build() {
    let mut team = Team::new(&[("b1", 4)]).await;
    let _plain = team.request(spec("app", &[])).await;
    let mut other = spec("app", &[]);
    other.derivation.builder = "/bin/false".to_owned();
    let _other = team.request(other).await;
    let mut check = spec("app", &[]);
    check.mode = BuildMode::Check;
    let _check = team.request(check).await;
    let mut kept = spec("app", &[]);
    kept.keep_failed = true;
    let _kept = team.request(kept).await;
    for _ in 0..4 {
        assert_eq!(team.next_try().await.build, "app");
    }
}

#[tokio::test(start_paused = true)]
async fn attributes_that_mean_the_same_are_the_same_build() {
    let mut team = Team::new(&[("b1", 4)]).await;
    let with = |attrs: &str| {
        let mut spec = spec("app", &[]);
        let attrs = attrs.as_bytes().to_vec();
        spec.derivation.env.insert("__json".to_owned(), attrs);
        spec
    };
    let _one = team
        .request(with(r#"{"b": [1, 2.0], "a": "\u00e9"}"#))
        .await;
    team.next_try().await;
    let _same = team.request(with(r#"{"a":"é","b":[1,2.0]}"#)).await;
    team.no_try().await;
    let _other = team.request(with(r#"{"a":"é","b":[2.0,1]}"#)).await;
    team.next_try().await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_attempt_is_made_elsewhere_under_a_new_number() {
    let mut team = Team::new(&[("b1", 1), ("b2", 1)]).await;
    let mut progress = team.request(spec("app", &[])).await;
    let first = team.next_try().await;
    assert_eq!(first.machine, "b1");
    let before = progress.borrow().attempt.clone().expect("an attempt");
    first.says("half of it");
    first.faults(lost()).await;
    let second = team.next_try().await;
    assert_eq!(second.machine, "b2");
    let mut after = progress.borrow().attempt.clone().expect("an attempt");
    assert!(after.number > before.number);
    second.says("all of it");
    let log = soon(after.log.read(0)).await.expect("readable");
    assert_eq!(log.as_deref(), Some(&b"all of it\n"[..]));
    second.succeeds().await;
    let ended = ended(&mut progress).await;
    assert_eq!(ended.machine.as_ref().expect("a machine").as_str(), "b2");
}

#[tokio::test(start_paused = true)]
async fn a_build_that_no_machine_finishes_is_given_up() {
    let mut team = Team::new(&[("b1", 1)]).await;
    let mut progress = team.request(spec("app", &[])).await;
    let other = || Fault::Nonsense("it is mad".to_owned());
    for fault in [lost(), other(), lost()] {
        team.next_try().await.faults(fault).await;
    }
    let ended = ended(&mut progress).await;
    assert_eq!(ended.result.status, BuildStatus::TransientFailure);
    expect_test::expect!["no machine could finish the build; 3 attempts were lost: 2 times on `b1`: it answered nonsense: it hums; on `b1`: it answered nonsense: it is mad"].assert_eq(&ended.result.error.to_string());
}

#[tokio::test(start_paused = true)]
async fn collected_inputs_are_sent_again_to_nobodys_blame() {
    let mut team = Team::new(&[("b1", 1)]).await;
    let _first = team.request(spec("one", &["src"])).await;
    team.next_try().await.succeeds().await;
    let mut progress = team.request(spec("two", &["src"])).await;
    // More often than faults are suffered.
    for _ in 0..5 {
        let attempt = team.next_try().await;
        attempt.faults(Fault::LostInputs(vec![path("src")])).await;
    }
    let attempt = team.next_try().await;
    assert_eq!(attempt.missing, ["src"]);
    attempt.succeeds().await;
    let ended = ended(&mut progress).await;
    assert_eq!(ended.result.status, BuildStatus::Built);
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_build_stops_and_frees_its_slot() {
    let mut team = Team::new(&[("b1", 1)]).await;
    let alice = team.request(spec("app", &[])).await;
    let attempt = team.next_try().await;
    let mut next = team.request(spec("next", &[])).await;
    waits(&mut next, "b1 has its one slot taken").await;
    drop(alice);
    soon(attempt.is_dropped()).await;
    assert_eq!(team.next_try().await.build, "next");
    assert_eq!(team.view().await.builds.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_build_asked_for_again_in_time_goes_on() {
    let mut team = Team::new(&[("b1", 1)]).await;
    let alice = team.request(spec("app", &[])).await;
    let attempt = team.next_try().await;
    drop(alice);
    // Before the core can know that nobody follows it any more.
    let mut bob = team.request(spec("app", &[])).await;
    team.no_try().await;
    attempt.succeeds().await;
    ended(&mut bob).await;
    drop(bob);
    team.no_try().await;
    let _carol = team.request(spec("app", &[])).await;
    team.next_try().await;
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_build_no_longer_asks_the_home_store() {
    let team = Team::new(&[("b1", 1)]).await;
    team.home.answers(false);
    let mut progress = team.request(spec("app", &["src"])).await;
    waits(&mut progress, "its inputs are looked up").await;
    while team.home.waiting() == 0 {
        team.view().await;
    }
    drop(progress);
    while team.home.waiting() > 0 {
        team.view().await;
    }
    assert!(team.view().await.builds.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_failed_build_is_an_outcome_and_a_new_request_builds_anew() {
    let mut team = Team::new(&[("b1", 1), ("b2", 1)]).await;
    let mut alice = team.request(spec("app", &[])).await;
    team.next_try().await.fails("no such header").await;
    let failed = ended(&mut alice).await;
    assert_eq!(failed.result.status, BuildStatus::PermanentFailure);
    assert_eq!(failed.result.error.to_string(), "no such header");
    team.no_try().await;
    let mut bob = team.request(spec("app", &[])).await;
    team.next_try().await.succeeds().await;
    assert_eq!(ended(&mut bob).await.result.status, BuildStatus::Built);
    // The end of the old one leaves the new one where it is.
    drop(alice);
    team.no_try().await;
    let mut carol = team.request(spec("app", &[])).await;
    ended(&mut carol).await;
    team.no_try().await;
}

#[tokio::test(start_paused = true)]
async fn what_no_machine_could_build_is_refused_with_what_each_lacks() {
    let mut team = Team::new(&[("b1", 1), ("b2", 1)]).await;
    let mut asked = spec("app", &[]);
    asked.derivation.system = "riscv64-linux".to_owned();
    let mut progress = team.request(asked).await;
    let ended = ended(&mut progress).await;
    assert_eq!(ended.result.status, BuildStatus::MiscFailure);
    assert!(ended.machine.is_none());
    expect_test::expect![[r#"
        no machine can build for `riscv64-linux`: `b1` offers only `x86_64-linux`; `b2` offers only `x86_64-linux`"#]]
    .assert_eq(&ended.result.error.to_string());
    let help = ended.help.as_deref();
    assert_eq!(help, Some("configure a machine for `riscv64-linux`"));
    team.no_try().await;
}

#[tokio::test(start_paused = true)]
async fn an_input_that_the_home_store_lacks_ends_the_build() {
    let mut team = Team::new(&[("b1", 1)]).await;
    let mut progress = team.request(spec("app", &["nowhere"])).await;
    let ended = ended(&mut progress).await;
    assert_eq!(ended.result.status, BuildStatus::MiscFailure);
    let text = ended.result.error.to_string();
    assert!(
        text.contains("nowhere` is not valid in the home store"),
        "{text}"
    );
    team.no_try().await;
}

#[tokio::test(start_paused = true)]
async fn a_home_store_that_is_just_restarted_is_asked_again() {
    let mut team = Team::new(&[("b1", 1)]).await;
    team.home.fails(3);
    let mut app = team.request(spec("app", &["src"])).await;
    team.next_try().await.succeeds().await;
    assert_eq!(ended(&mut app).await.result.status, BuildStatus::Built);
}

#[tokio::test(start_paused = true)]
async fn a_home_store_that_cannot_be_reached_ends_the_build() {
    let mut team = Team::new(&[("b1", 1)]).await;
    team.home.fails(u32::MAX);
    let mut app = team.request(spec("app", &["src"])).await;
    let failed = ended(&mut app).await;
    assert_eq!(failed.result.status, BuildStatus::MiscFailure);
    expect_test::expect![
        "cannot ask the home store for the build's inputs: `nix-daemon` did not answer within 1 s"
    ]
    .assert_eq(&failed.result.error.to_string());
    team.no_try().await;
}

#[tokio::test(start_paused = true)]
async fn the_nar_ahead_is_taken_once() {
    let mut team = Team::new(&[("b1", 1)]).await;
    let mut progress = team.request(spec("app", &[])).await;
    team.next_try().await.succeeds().await;
    let ended = ended(&mut progress).await;
    let held = ended.held.as_ref().expect("outputs");
    assert!(held.take(&path("other")).is_none());
    assert!(held.take(&path("app")).is_some());
    assert!(held.take(&path("app")).is_none());
}

#[tokio::test(start_paused = true)]
async fn an_output_that_cannot_be_read_is_built_again_for_who_asks_again() {
    let mut team = Team::new(&[("b1", 1)]).await;
    let mut alice = team.request(spec("app", &[])).await;
    team.next_try().await.succeeds().await;
    ended(&mut alice).await;
    let path = path("app");
    team.core.send(Command::Unreadable { path }).await;
    let mut bob = team.request(spec("app", &[])).await;
    team.next_try().await.succeeds().await;
    ended(&mut bob).await;
    assert!(matches!(alice.borrow().stage, Stage::Ended(_)));
}
