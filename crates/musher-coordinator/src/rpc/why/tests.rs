//! What is said of builds on their way.

use musher_api::coordinator as api;
use musher_api::coordinator::why_reply::State;

use super::why;
use crate::core::{Command, Part, Standing, Ticket};
use crate::rpc::Service;
use crate::rpc::testing::service;
use crate::testing::{Team, absolute, add_graph, ended, path, soon, spec};

/// What is said of `name` in a few words.
async fn said(service: &Service, name: &str) -> String {
    let reply = soon(why(service, &absolute(name))).await.expect("a reply");
    words(&reply)
}

fn short(path: &str) -> &str {
    path.split_once('-').map_or(path, |(_, name)| name)
}

fn words(reply: &api::WhyReply) -> String {
    let state = match reply.state.as_ref().expect("a state") {
        State::Planned(it) => {
            let after: Vec<_> = it.after.iter().map(|drv| short(drv)).collect();
            format!("after {}", after.join(" "))
        }
        State::Waiting(it) => match &it.details {
            Some(details) => {
                let obstacles: Vec<_> = (details.obstacles.iter())
                    .map(|it| format!("{} {}", it.machine, it.kind))
                    .collect();
                format!("waits, {} ahead: {}", details.ahead, obstacles.join(", "))
            }
            None => "waits".to_owned(),
        },
        State::Running(it) => {
            let because = it.placement.as_ref().map(|it| it.because.as_str());
            let left = it.left_ms.signum();
            format!(
                "runs on {}, left {left}: {}",
                it.machine,
                because.unwrap_or("?")
            )
        }
        State::Ended(it) => {
            let build = it.build.as_ref().expect("a build");
            let because = it.placement.as_ref().map(|it| it.because.as_str());
            let (status, machine) = (build.status, &build.machine);
            format!("ended {status} on {machine}: {}", because.unwrap_or("?"))
        }
        State::Unasked(it) => {
            let outputs: Vec<_> = (it.outputs.iter())
                .map(|it| format!("{}{} {}", it.name, short(&it.path), it.valid))
                .collect();
            let lacks: Vec<_> = it.lacks.iter().map(|it| it.machine.as_str()).collect();
            let (outputs, able, lacks) = (outputs.join(" "), it.able.join(" "), lacks.join(" "));
            format!("not asked for: {outputs}; able {able}; never {lacks}")
        }
    };
    let estimate = reply.estimate.as_ref().map(|it| it.confidence.as_str());
    format!(
        "{} {state}; for {}; {} from {}",
        short(&reply.drv_path),
        reply.owners.join(", "),
        estimate.unwrap_or("nothing"),
        reply.based_on
    )
}

/// Asks for the builds of a request of `owner`, as part of it.
async fn ask(
    team: &Team,
    ticket: &Ticket,
    name: &str,
) -> tokio::sync::watch::Receiver<crate::build::Progress> {
    let part = Part {
        request: ticket.request(),
        drv: path(&format!("{name}.drv")),
    };
    let ask = |reply| Command::Build {
        spec: Box::new(spec(name, &[])),
        part: Some(part),
        reply,
    };
    team.core.ask(ask).await.expect("the core runs")
}

#[tokio::test(start_paused = true)]
async fn a_build_is_followed_from_its_plan_to_its_end() {
    let mut team = Team::new(&[("b1", 1)]).await;
    add_graph(&team, "app < tool; tool; first");
    let service = service(&team);
    let mut told = vec![said(&service, "tool.drv").await];
    let ticket = Ticket::open(&team.core, Standing::usual("alice")).await;
    let planned = |name: &str, after: &[&str]| crate::core::Foreseen {
        drv: path(&format!("{name}.drv")),
        needs: spec(name, &[]).needs(),
        kind: musher_scheduler::BuildKind::Ordinary,
        after: after
            .iter()
            .map(|name| path(&format!("{name}.drv")))
            .collect(),
    };
    ticket
        .plan(vec![planned("tool", &[]), planned("app", &["tool"])])
        .await;
    let _first = team.request(spec("first", &[])).await;
    let first = team.next_try().await;
    told.push(said(&service, "app.drv").await);
    let mut tool = ask(&team, &ticket, "tool").await;
    crate::testing::waits(&mut tool, "slot").await;
    told.push(said(&service, "tool.drv").await);
    // By its output too.
    told.push(said(&service, "tool").await);
    first.succeeds().await;
    let attempt = team.next_try().await;
    told.push(said(&service, "tool").await);
    attempt.succeeds().await;
    ended(&mut tool).await;
    told.push(said(&service, "tool.drv").await);
    drop(tool);
    // Nobody follows it any more.
    team.no_try().await;
    told.push(said(&service, "tool.drv").await);
    expect_test::expect![[r#"
        tool.drv not asked for: outtool false; able b1; never ; for ; guess from 0
        app.drv after tool.drv; for alice; guess from 0
        tool.drv waits, 0 ahead: b1 full; for alice; guess from 0
        tool.drv waits, 0 ahead: b1 full; for alice; guess from 0
        tool.drv runs on b1, left 1: there was no other slot for it; for alice; guess from 0
        tool.drv ended 0 on b1: there was no other slot for it; for ; nothing from 0
        tool.drv ended 0 on b1: there was no other slot for it; for ; nothing from 0"#]]
    .assert_eq(&told.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn what_nobody_asks_for_is_looked_for_at_home() {
    let team = Team::new(&[("b1", 1)]).await;
    add_graph(&team, "lib");
    let service = service(&team);
    let told = [
        // Its output is there.
        said(&service, "lib.drv").await,
        said(&service, "src").await,
        said(&service, "nowhere").await,
        said(&service, "nowhere.drv").await,
    ];
    expect_test::expect![[r#"
        lib.drv not asked for: outlib true; able b1; never ; for ; guess from 0
         not asked for: src true; able ; never ; for ; nothing from 0
         not asked for: nowhere false; able ; never ; for ; nothing from 0
        nowhere.drv not asked for: ; able ; never ; for ; nothing from 0"#]]
    .assert_eq(&told.join("\n"));
    let error = soon(why(&service, "/elsewhere/x"))
        .await
        .expect_err("no store path");
    assert_eq!(error.code(), tonic::Code::InvalidArgument);
}

#[tokio::test(start_paused = true)]
async fn what_failed_is_said_with_how_it_failed() {
    let mut team = Team::new(&[("b1", 1), ("b2", 1)]).await;
    let service = service(&team);
    let mut app = team.request(spec("app", &[])).await;
    let attempt = team.next_try().await;
    attempt
        .faults(crate::builder::Fault::Nonsense("it hums".to_owned()))
        .await;
    let attempt = team.next_try().await;
    let reply = soon(why(&service, &absolute("app.drv")))
        .await
        .expect("a reply");
    assert_eq!(reply.faults, ["on `b1`: it answered nonsense: it hums"]);
    attempt.fails("no").await;
    ended(&mut app).await;
    expect_test::expect![
        "app.drv ended 3 on b2: there was no other slot for it; for ; nothing from 0"
    ]
    .assert_eq(&said(&service, "app.drv").await);
}
