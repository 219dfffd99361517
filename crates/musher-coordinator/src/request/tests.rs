//! Requests to a real core, with machines that do what the test says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use musher_store::Substitute;
use nix_derivation::{Derivation, InputDerivation, StorePath};

use super::{Happened, Request, Wish};
use crate::build::Limits;
use crate::builder::Fault;
use crate::core::Standing;
use crate::home::{Home, Place};
use crate::testing::{Team, Try, add_graph, derivation_text, info, path, soon};

/// A team whose home store holds these derivations, `NAME < INPUT…`.
async fn team(machines: &[(&str, u32)], graph: &str) -> Team {
    let team = Team::new(machines).await;
    add_graph(&team, graph);
    team
}

fn wish(team: &Team, roots: &[&str], keep_going: bool) -> Request {
    let roots = roots
        .iter()
        .map(|name| (path(&format!("{name}.drv")), BTreeSet::new()));
    let home = Home::new(team.home.clone(), Place::Elsewhere);
    let wish = Wish {
        roots: roots.collect(),
        keep_going,
        limits: Limits::default(),
        substitute: Substitute::No,
        keep_failed: false,
        check: false,
        standing: Standing::usual("somebody"),
    };
    Request::start(team.core.clone(), Arc::new(home), wish)
}

/// What happens until it is over, without what is told of each build.
async fn end(request: &mut Request) -> Vec<String> {
    let mut told = Vec::new();
    loop {
        let news = soon(request.story.next()).await.expect("it goes on");
        for happened in news {
            let names = |paths: &[StorePath]| {
                let names: Vec<_> = paths.iter().map(StorePath::name).collect();
                names.join(" ")
            };
            match happened {
                Happened::Planned { builds, valid } => {
                    told.push(format!("plan {}; {valid} valid", names(&builds)));
                }
                Happened::Asked { .. } | Happened::Importing { .. } | Happened::Summed(_) => {}
                Happened::Failed { drv, text, .. } => {
                    told.push(format!("{}: {text}", drv.name()));
                }
                Happened::Imported { paths, .. } => {
                    told.push(format!("imported {}", names(&paths)));
                }
                Happened::Done(ends) => {
                    for (drv, end) in &*ends {
                        let outputs: Vec<_> = end.outputs.values().cloned().collect();
                        told.push(format!("done {}: {}", drv.name(), names(&outputs)));
                    }
                    return told;
                }
            }
        }
    }
}

async fn next(team: &mut Team, build: &str) -> Try {
    let attempt = team.next_try().await;
    assert_eq!(attempt.build, build);
    attempt
}

fn lost() -> Fault {
    Fault::Nonsense("it hums".to_owned())
}

#[tokio::test(start_paused = true)]
async fn what_was_built_is_used_where_it_lies_and_only_the_root_comes_home() {
    let mut team = team(&[("b1", 1)], "app < libx; libx < tool; tool").await;
    let mut request = wish(&team, &["app"], false);
    next(&mut team, "tool").await.succeeds().await;
    let libx = next(&mut team, "libx").await;
    assert!(libx.missing.is_empty(), "{:?}", libx.missing);
    libx.succeeds().await;
    let app = next(&mut team, "app").await;
    assert!(app.missing.is_empty(), "{:?}", app.missing);
    app.succeeds_with(&["libx"]).await;
    expect_test::expect![[r#"
        plan app.drv libx.drv tool.drv; 0 valid
        imported libx app
        done app.drv: app"#]]
    .assert_eq(&end(&mut request).await.join("\n"));
    assert_eq!(team.home.imported(), ["libx", "app"]);
}

#[tokio::test(start_paused = true)]
async fn another_machine_is_sent_what_it_needs() {
    let mut team = team(&[("b1", 1), ("b2", 1)], "app < a b; a; b").await;
    let mut request = wish(&team, &["app"], false);
    let first = team.next_try().await;
    let second = team.next_try().await;
    let there = second.build.clone();
    assert_ne!(first.machine, second.machine);
    // The slot of the first is not free when the rest is ready.
    second.succeeds().await;
    first.succeeds().await;
    let app = next(&mut team, "app").await;
    assert_eq!(app.missing.len(), 1, "{:?} with {there}", app.missing);
    app.succeeds().await;
    assert_eq!(
        end(&mut request).await.last().expect("an end"),
        "done app.drv: app"
    );
}

#[tokio::test(start_paused = true)]
async fn one_build_serves_two_requests() {
    let mut team = team(&[("b1", 2)], "app < libx; other < libx; libx").await;
    let mut first = wish(&team, &["app"], false);
    let libx = next(&mut team, "libx").await;
    let mut second = wish(&team, &["other"], false);
    team.no_try().await;
    libx.succeeds().await;
    for _ in 0..2 {
        team.next_try().await.succeeds().await;
    }
    end(&mut first).await;
    end(&mut second).await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_names_the_culprit_once() {
    let mut team = team(&[("b1", 2)], "app < a b; a < bad; b < bad; bad; other").await;
    let mut request = wish(&team, &["app", "other"], true);
    for _ in 0..2 {
        let attempt = team.next_try().await;
        match attempt.build.as_str() {
            "bad" => attempt.fails("no").await,
            _ => attempt.succeeds().await,
        }
    }
    expect_test::expect![[r#"
        plan a.drv app.drv b.drv bad.drv other.drv; 0 valid
        imported other
        a.drv: `bad.drv` failed, which it needs
        b.drv: `bad.drv` failed, which it needs
        app.drv: `bad.drv` failed, which it needs
        done app.drv: 
        done other.drv: other"#]]
    .assert_eq(&end(&mut request).await.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_with_its_machine_is_built_again() {
    let mut team = team(&[("b1", 1), ("b2", 1)], "app < libx; libx").await;
    let mut request = wish(&team, &["app"], false);
    let libx = next(&mut team, "libx").await;
    let machine = libx.machine.clone();
    libx.succeeds().await;
    let app = next(&mut team, "app").await;
    assert_eq!(app.machine, machine);
    team.machine(&machine).reachable(false);
    team.until_away(&machine, true).await;
    // Made elsewhere, where the input must be read from the machine that went.
    let app = next(&mut team, "app").await;
    assert_ne!(app.machine, machine);
    assert_eq!(app.missing, ["libx"]);
    app.cannot_read("libx").await;
    next(&mut team, "libx").await.succeeds().await;
    next(&mut team, "app").await.succeeds_with(&["libx"]).await;
    let told = end(&mut request).await;
    assert_eq!(told.last().expect("an end"), "done app.drv: app");
    assert_eq!(team.home.imported(), ["libx", "app"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_on_its_way_home_is_built_again() {
    let mut team = team(&[("b1", 1), ("b2", 1)], "app").await;
    let mut request = wish(&team, &["app"], false);
    let app = next(&mut team, "app").await;
    let machine = app.machine.clone();
    team.machine(&machine).unreadable(true);
    app.succeeds().await;
    let app = next(&mut team, "app").await;
    team.machine(&machine).unreadable(false);
    app.succeeds().await;
    let told = end(&mut request).await;
    assert_eq!(told.last().expect("an end"), "done app.drv: app");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_what_it_was_said_to_be_does_not_come_home() {
    let mut team = team(&[("b1", 2)], "app < libx; libx; other").await;
    let mut request = wish(&team, &["app", "other"], true);
    let first = team.next_try().await;
    let second = team.next_try().await;
    let (libx, other) = match first.build.as_str() {
        "libx" => (first, second),
        _ => (second, first),
    };
    libx.succeeds().await;
    let app = next(&mut team, "app").await;
    other.succeeds().await;
    app.succeeds_concealing(&["libx"]).await;
    next(&mut team, "app").await.succeeds_with(&["libx"]).await;
    let told = end(&mut request).await.join("\n");
    assert!(
        told.ends_with("done app.drv: app\ndone other.drv: other"),
        "{told}"
    );
    let mut imported = team.home.imported();
    imported.sort();
    assert_eq!(imported, ["app", "libx", "other"]);
}

#[tokio::test(start_paused = true)]
async fn what_home_does_not_take_keeps_nothing_else_away() {
    let mut team = team(&[("b1", 3)], "a; b; c").await;
    let mut request = wish(&team, &["a", "b", "c"], true);
    team.home.refuses("b");
    // The others wait for the first, and come in one go.
    team.home.answers(false);
    for _ in 0..3 {
        team.next_try().await.succeeds().await;
    }
    team.no_try().await;
    team.home.answers(true);
    let told = end(&mut request).await.join("\n");
    assert!(
        told.contains("b.drv: its outputs cannot be imported"),
        "{told}"
    );
    assert!(
        told.ends_with("done a.drv: a\ndone b.drv: \ndone c.drv: c"),
        "{told}"
    );
}

#[tokio::test(start_paused = true)]
async fn who_hangs_up_wants_nothing_any_more() {
    let mut team = team(&[("b1", 1)], "app < libx; libx").await;
    let request = wish(&team, &["app"], false);
    let libx = next(&mut team, "libx").await;
    drop(request);
    soon(libx.is_dropped()).await;
    team.no_try().await;
    assert!(team.view().await.builds.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lost_attempt_costs_nothing_but_itself() {
    let mut team = team(&[("b1", 1), ("b2", 1)], "app < libx; libx").await;
    let mut request = wish(&team, &["app"], false);
    next(&mut team, "libx").await.faults(lost()).await;
    next(&mut team, "libx").await.succeeds().await;
    next(&mut team, "app").await.succeeds().await;
    end(&mut request).await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_said() {
    let team = team(&[("b1", 1)], "app").await;
    team.home.add(info("bad.drv", &[]), "Derive(");
    let mut request = wish(&team, &["bad", "nowhere"], true);
    let told = end(&mut request).await.join("\n");
    assert!(
        told.contains("bad.drv: cannot parse `/nix/store/"),
        "{told}"
    );
}

#[test]
fn the_texts_are_derivations() {
    let text = derivation_text("app", &["libx"]);
    let parsed = Derivation::from_aterm_bytes(text.as_bytes(), "app").expect("a derivation");
    let libx = path("libx.drv");
    let inputs = BTreeMap::from([(libx, InputDerivation::new(["out"]))]);
    assert_eq!(*parsed.input_derivations(), inputs);
}
