//! What a caller of `Realise` hears, and in which order.

use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use musher_api::coordinator as api;
use musher_api::coordinator::build_news::News;
use musher_api::coordinator::realise_event::Event;
use tonic::Status;

use super::realise;
use crate::core::Standing;
use crate::rpc::testing::service;
use crate::testing::{Team, absolute, add_graph, soon};

type Events = Pin<Box<dyn Stream<Item = Result<api::RealiseEvent, Status>>>>;

fn asked(team: &Team, roots: &[&str]) -> Events {
    asked_to(team, roots, false)
}

fn asked_to(team: &Team, roots: &[&str], explain: bool) -> Events {
    let roots = roots.iter().map(|name| api::Root {
        drv_path: absolute(&format!("{name}.drv")),
        outputs: Vec::new(),
    });
    let request = api::RealiseRequest {
        roots: roots.collect(),
        explain,
        ..api::RealiseRequest::default()
    };
    Box::pin(realise(&service(team), Standing::usual("somebody"), &request).expect("a stream"))
}

fn short(path: &str) -> &str {
    path.split_once('-').map_or(path, |(_, name)| name)
}

/// One event in a few words.
fn words(event: api::RealiseEvent) -> String {
    match event.event.expect("an event") {
        Event::Planned(planned) => {
            let names: Vec<_> = planned.drv_paths.iter().map(|path| short(path)).collect();
            format!("plan {}; {} valid", names.join(" "), planned.valid)
        }
        Event::Build(news) => {
            let name = short(&news.drv_path);
            match news.news.expect("news") {
                News::Waiting(_) => format!("{name} waits"),
                News::Started(started) => format!("{name} starts on {}", started.machine),
                News::Log(log) => {
                    let text = String::from_utf8(log.bytes.to_vec()).expect("text");
                    format!("{name} says {text:?}")
                }
                News::Ended(end) => format!("{name} ends {} {}", end.status, short(&end.culprit)),
            }
        }
        Event::Importing(importing) => format!("importing {}", importing.paths.len()),
        Event::Imported(imported) => format!("imported {}", imported.paths.len()),
        Event::Outlook(it) => {
            let (planned, waiting, running) = (it.planned, it.waiting, it.running);
            let left = it.left_ms.map(|left| left / 1000);
            format!("outlook {planned} planned, {waiting} waiting, {running} running, {left:?} s")
        }
        Event::Done(done) => {
            let roots: Vec<_> = (done.roots.iter())
                .map(|root| format!("{} {:?}", short(&root.drv_path), root.outputs.keys()))
                .collect();
            format!("done {}", roots.join(", "))
        }
    }
}

/// All that is told from now on until it is over, without what builds wait for.
async fn rest(events: &mut Events) -> String {
    let mut told = Vec::new();
    loop {
        let event = soon(events.next()).await.expect("it goes on");
        let line = words(event.expect("no error"));
        let over = line.starts_with("done ");
        if !line.ends_with(" waits") {
            told.push(line);
        }
        if over {
            return told.join("\n");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_build_is_told_to_its_end_before_what_follows_from_it() {
    let mut team = Team::new(&[("b1", 1)]).await;
    add_graph(&team, "app < tool; tool");
    let mut events = asked(&team, &["app"]);
    let (told, ()) = tokio::join!(rest(&mut events), async {
        let tool = team.next_try().await;
        tool.says("working");
        tool.succeeds().await;
        team.next_try().await.succeeds().await;
    });
    expect_test::expect![[r#"
        plan app.drv tool.drv; 0 valid
        tool.drv starts on b1
        tool.drv says "working\n"
        tool.drv ends 0 
        app.drv starts on b1
        app.drv ends 0 
        importing 1
        imported 1
        done app.drv ["out"]"#]]
    .assert_eq(&told);
    // The open stream is what keeps everything.
    let more = tokio::time::timeout(Duration::from_secs(9), events.next());
    assert!(more.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_told_before_what_it_takes_along() {
    let mut team = Team::new(&[("b1", 1)]).await;
    add_graph(&team, "app < tool; tool");
    let mut events = asked(&team, &["app"]);
    let (told, ()) = tokio::join!(rest(&mut events), async {
        team.next_try().await.fails("no").await;
    });
    expect_test::expect![[r#"
        plan app.drv tool.drv; 0 valid
        tool.drv starts on b1
        tool.drv ends 3 
        app.drv ends 10 tool.drv
        done app.drv []"#]]
    .assert_eq(&told);
}

#[tokio::test(start_paused = true)]
async fn a_request_for_nothing_is_granted_at_once() {
    let team = Team::new(&[("b1", 1)]).await;
    let mut events = asked(&team, &[]);
    expect_test::expect![[r#"
        plan ; 0 valid
        done "#]]
    .assert_eq(&rest(&mut events).await);
}

#[tokio::test(start_paused = true)]
async fn who_hangs_up_is_not_built_for() {
    let mut team = Team::new(&[("b1", 1)]).await;
    add_graph(&team, "app");
    let mut events = asked(&team, &["app"]);
    let attempt = tokio::select! {
        attempt = team.next_try() => attempt,
        _ = rest(&mut events) => panic!("it cannot end"),
    };
    drop(events);
    soon(attempt.is_dropped()).await;
}

/// The next event that a `wanted` prefix tells.
async fn soon_told(events: &mut Events, wanted: &str) -> String {
    loop {
        let event = soon(events.next()).await.expect("it goes on");
        let line = words(event.expect("no error"));
        if line.starts_with(wanted) {
            return line;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_it_is_told_how_far_the_request_is() {
    let mut team = Team::new(&[("b1", 1)]).await;
    add_graph(&team, "app < base tool; base; tool");
    let mut events = asked_to(&team, &["app"], true);
    let attempt = team.next_try().await;
    let told = soon_told(&mut events, "outlook 1 planned, 1 waiting, 1 running").await;
    assert!(told.contains("Some("), "{told}");
    attempt.succeeds().await;
    let next = team.next_try().await;
    soon_told(&mut events, "outlook 1 planned, 0 waiting, 1 running").await;
    next.succeeds().await;
    team.next_try().await.succeeds().await;
    soon_told(&mut events, "done").await;
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_it_is_told_piece_by_piece_what_builds_wait_for() {
    let mut team = Team::new(&[("b1", 1)]).await;
    add_graph(&team, "app; other");
    let mut plain = asked(&team, &["app", "other"]);
    let _attempt = team.next_try().await;
    let mut explained = asked_to(&team, &["app", "other"], true);
    for (events, explain) in [(&mut plain, false), (&mut explained, true)] {
        let waiting = loop {
            let event = soon(events.next()).await.expect("it goes on");
            if let Some(Event::Build(news)) = event.expect("no error").event
                && let Some(News::Waiting(waiting)) = news.news
                && waiting.reason.contains("slot")
            {
                break waiting;
            }
        };
        let told = waiting.details.map(|details| {
            let obstacle = &details.obstacles[0];
            format!("{} {}: {}", obstacle.machine, obstacle.kind, obstacle.text)
        });
        let expected = "b1 full: has its one slot taken".to_owned();
        assert_eq!(told, explain.then_some(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_tells_where_the_time_went() {
    let mut team = Team::new(&[("b1", 2)]).await;
    add_graph(&team, "app < tool; tool");
    let mut events = asked(&team, &["app"]);
    let builds = async {
        team.next_try().await.succeeds().await;
        team.next_try().await.succeeds().await;
    };
    let done = async {
        loop {
            let event = soon(events.next()).await.expect("it goes on");
            if let Some(Event::Done(done)) = event.expect("no error").event {
                return done;
            }
        }
    };
    let (done, ()) = tokio::join!(done, builds);
    let summary = done.summary.expect("something was built");
    assert_eq!((summary.builds, summary.slots), (2, 2));
    let poles: Vec<_> = (summary.long_poles.iter())
        .map(|pole| format!("{} on {}", short(&pole.drv_path), pole.machine))
        .collect();
    assert_eq!(poles.len(), 2, "{poles:?}");
    assert!(poles.contains(&"tool.drv on b1".to_owned()), "{poles:?}");
    // Nothing is built, nothing is said.
    let mut events = asked(&team, &[]);
    let nothing = loop {
        let event = soon(events.next()).await.expect("it goes on");
        if let Some(Event::Done(done)) = event.expect("no error").event {
            break done;
        }
    };
    assert_eq!(nothing.summary, None);
}
