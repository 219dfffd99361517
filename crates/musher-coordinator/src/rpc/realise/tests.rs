//! What a caller of `Realise` hears, and in which order.

use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::{Stream, StreamExt};
use musher_api::coordinator as api;
use musher_api::coordinator::build_news::News;
use musher_api::coordinator::realise_event::Event;
use nix_derivation::StoreDir;
use tonic::Status;

use super::realise;
use crate::build::Limits;
use crate::home::{Home, Place};
use crate::kept_logs::KeptLogs;
use crate::rpc::Service;
use crate::testing::{Team, absolute, add_graph, soon};

type Events = Pin<Box<dyn Stream<Item = Result<api::RealiseEvent, Status>>>>;

fn asked(team: &Team, roots: &[&str]) -> Events {
    let service = Service {
        core: team.core.clone(),
        home: Arc::new(Home::new(team.home.clone(), Place::Elsewhere)),
        store_dir: StoreDir::default(),
        limits: Limits::default(),
        started: SystemTime::now(),
        config: team.logs.path().join("musher.toml"),
        state: team.logs.path().to_owned(),
        logs: Arc::new(KeptLogs::new(team.logs.path().join("kept"))),
        history: team.history.clone(),
        foresight: None,
        reload: Arc::new(|| Box::pin(async { Err("not here".to_owned()) })),
    };
    let roots = roots.iter().map(|name| api::Root {
        drv_path: absolute(&format!("{name}.drv")),
        outputs: Vec::new(),
    });
    let request = api::RealiseRequest {
        roots: roots.collect(),
        ..api::RealiseRequest::default()
    };
    Box::pin(realise(&service, &request).expect("a stream"))
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
    let more = tokio::time::timeout(std::time::Duration::from_secs(9), events.next());
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
